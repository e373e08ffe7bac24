"""A feed's health as the console says it: from what media tells to words and marks."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.web.i18n import Language
from ingest.console import Told
from ingest.health.issues import Issue, IssueType, Level
from ingest.health.texts import Explanation, explain


@dataclass(frozen=True, slots=True)
class Trouble:
    level: str
    type: str
    words: Explanation


def troubles(feed: Told, language: Language) -> list[Trouble]:
    """The gravest first."""
    told = [_read(one) for one in feed["issues"]]
    told.sort(key=lambda one: list(Level).index(one.level), reverse=True)
    return [Trouble(one.level, one.type, explain(one, language)) for one in told]


def words_of(issue: Told, language: Language) -> Explanation:
    return explain(_read(issue), language)


def _read(issue: Told) -> Issue:
    return Issue(IssueType(issue["type"]), Level(issue["level"]), issue["value"], issue["limit"])


def of_channel(feeds: Sequence[Told], slug: str) -> dict[str, Told]:
    """The channel's feeds by role."""
    return {feed["role"]: feed for feed in feeds if feed["channel"] == slug}


def numbers(feed: Told) -> dict[str, float]:
    """What changes every second, as the page shows it: kbit/s, frames a second, seconds between keyframes."""
    measures = feed["measures"]
    return {
        "kbits": round((measures["received_bps"] or 0) / 1000),
        "fps": round(measures["frame_rate"] or 0, 1),
        "gop": round(measures["gop_s"] or 0, 1),
    }
