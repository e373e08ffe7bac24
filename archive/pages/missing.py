"""What pages say is missing of a recording: its gap rows, without the wait for an encoder that never came back."""

from collections.abc import Iterable, Sequence

from archive.recordings.rows import MissingSpan
from archive.recordings.verify import PICTURE_MS, Report, Wait
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


def waited_ms(report: Report | None) -> int:
    wait = _wait(report)
    return 0 if wait is None else wait.to_ms - wait.from_ms


def _wait(report: Report | None) -> Wait | None:
    return report.waited if report is not None and report.is_whole else None
