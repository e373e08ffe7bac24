"""What is told as missing of a recording, to everyone alike (pages, the API, the command line): its gap rows, without
the wait for an encoder that never came back.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from archive.recordings import verify
from archive.recordings.rows import MissingSpan
from archive.recordings.verify import FEED_LOST, PICTURE_MS, Report, Wait
from core.tables import Gap

Missing = tuple[MissingSpan, str]
"""With its cause."""


def missing(gaps: Iterable[Gap], report: Report | None) -> Sequence[Missing]:
    """As the completeness statement and verify.py have it; all of them where no whole papers say so."""
    told = ((MissingSpan(gap.started_ms, _until_ms(gap, report)), gap.cause) for gap in gaps)
    return [one for one in told if one[0].ended_ms > one[0].started_ms]


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
    """What the papers prove, where any of these gaps can be a wait: else nobody need read them. Blocks."""
    last_ms = max((gap.ended_ms for gap in gaps), default=0)
    is_asked = any(gap.cause == FEED_LOST and gap.ended_ms >= last_ms - PICTURE_MS for gap in gaps)
    if not is_asked or not (folder / verify.LEDGER_NAME).is_file():
        return None
    return verify.verify(folder, keys, with_media=False)
