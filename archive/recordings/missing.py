"""What is told as missing of a recording, to everyone alike (pages, the API, the command line): its gap rows, without
the wait for an encoder that never came back.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from archive.recordings import verify
from archive.recordings.rows import MISSING, MissingSpan
from archive.recordings.verify import FEED_LOST, PICTURE_MS, Line, Report, Wait
from core.tables import Gap


class Missing(NamedTuple):
    """`rendition`: it alone lacks this, as far as anybody knows; else it may be any or all."""

    span: MissingSpan
    cause: str
    rendition: str | None = None


def missing(gaps: Iterable[Gap], report: Report | None) -> Sequence[Missing]:
    """As the completeness statement and verify.py have it; all of them where no whole papers say so."""
    renditions = defaultdict[tuple[int, int, str], list[str | None]](list)
    for line in reversed(report.gaps if report else ()):
        renditions[_name(line)].append(line.get("rendition"))
    told = (
        Missing(
            MissingSpan(gap.started_ms, _until_ms(gap, report)), gap.cause,
            _next(renditions[gap.started_ms, gap.ended_ms, gap.cause]),
        )
        for gap in gaps
    )  # fmt: skip
    return [one for one in told if one.span.ended_ms > one.span.started_ms]


def _next(renditions: list[str | None]) -> str | None:
    """Several may lack the very same, each with a row of its own: rows come as their lines did."""
    return renditions.pop() if renditions else None


def _name(line: Line) -> tuple[int, int, str]:
    return line["from_ms"], line["to_ms"], str(line.get("cause"))


def _until_ms(gap: Gap, report: Report | None) -> int:
    wait = _wait(report)
    if wait is None or gap.started_ms != wait.lost_ms or gap.ended_ms < wait.to_ms - PICTURE_MS:
        return gap.ended_ms
    return wait.from_ms if wait.from_ms - wait.picture_ms > PICTURE_MS else wait.lost_ms


def waited(report: Report | None) -> MissingSpan | None:
    """When nothing was on the air any more; None where nobody was waited for."""
    wait = _wait(report)
    return None if wait is None else MissingSpan(wait.from_ms, wait.to_ms)


def waited_ms(report: Report | None) -> int:
    span = waited(report)
    return 0 if span is None else span.ended_ms - span.started_ms


def _wait(report: Report | None) -> Wait | None:
    return report.waited if report is not None and report.is_whole else None


def papers_of(folder: Path, gaps: Sequence[Gap], keys: Collection[bytes]) -> Report | None:
    """What the papers prove, where there are gaps of which they say more. Blocks while it reads them."""
    is_asked = any(gap.cause != MISSING for gap in gaps) and (folder / verify.LEDGER_NAME).is_file()
    return verify.verify(folder, keys, with_media=False) if is_asked else None


def may_have_waited(folder: Path, gaps: Sequence[Gap]) -> bool:
    """Whether the papers are worth reading where waits alone are asked for: of a list, say."""
    last_ms = max((gap.ended_ms for gap in gaps), default=0)
    path = folder / verify.LEDGER_NAME
    is_last = any(gap.cause == FEED_LOST and gap.ended_ms >= last_ms - PICTURE_MS for gap in gaps)
    return is_last and path.is_file() and b'"waited":true' in path.read_bytes()
