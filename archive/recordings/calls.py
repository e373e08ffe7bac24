"""Severe alarms of the archive as an engineer is called for them: by channel and kind, in words with a remedy."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from archive.recordings import overview
from archive.recordings.alarms import Alarm, Kind, Level, decide
from archive.words import LOCALE, N_, translate
from core.staff.permissions import Scope
from core.tables import Broadcast, Channel, Recording
from core.web.i18n import Language, catalogue

OF_EACH = 50
"""Recordings of one institution that are looked at, the newest: one that has many hides no other institution's."""
EVERYTHING = Scope(True, frozenset())
_ORDER = N_("See beside the copy what can be done; an archivist orders it.")
REMEDIES = {
    Kind.COPY_HELD: _ORDER,
    Kind.COPY_FAULTY: _ORDER,
    Kind.UNSIGNED: N_(
        "See that the work process runs and the disk is not full; its log says what hinders the signing."
    ),
    Kind.FEW_COPIES: N_("See which place takes no copies; mbashara location check says what is wrong with it."),
}
SHOWN = {Kind.COPY_HELD: "&shown=held", Kind.COPY_FAULTY: "&shown=faulty", Kind.FEW_COPIES: "&shown=few"}


@dataclass(frozen=True, slots=True)
class Call:
    """`count` recordings of a channel; `recording_id` and its titles where it is one."""

    kind: Kind
    count: int
    channel: str
    institution_id: int
    name_sw: str
    name_en: str
    recording_id: str = ""
    title_sw: str = ""
    title_en: str = ""

    def cause(self, language: Language) -> str:
        ngettext, count = catalogue(language, LOCALE).ngettext, self.count
        match self.kind:
            case Kind.COPY_HELD:
                text = ngettext(
                    "%(num)s recording has a copy in which nothing may be changed until a person has looked at it.",
                    "%(num)s recordings have a copy in which nothing may be changed until a person has looked at it.",
                    count,
                )
            case Kind.COPY_FAULTY:
                text = ngettext(
                    "%(num)s recording has a copy that is faulty and could not be mended.",
                    "%(num)s recordings have a copy that is faulty and could not be mended.",
                    count,
                )
            case Kind.UNSIGNED:
                text = ngettext(
                    "%(num)s recording is not signed to its end: what is not signed can't be proven.",
                    "%(num)s recordings are not signed to their end: what is not signed can't be proven.",
                    count,
                )
            case _:
                text = ngettext(
                    "%(num)s recording has fewer than two whole copies, an hour after its end.",
                    "%(num)s recordings have fewer than two whole copies, an hour after their end.",
                    count,
                )
        return text % {"num": count}

    def remedy(self, language: Language) -> str:
        return translate(REMEDIES[self.kind], language)

    @property
    def path(self) -> str:
        """Of the archive's page where it is seen, behind the language."""
        if self.recording_id:
            return f"/staff/recordings/{self.recording_id}"
        return f"/staff/recordings?channel={self.channel}{SHOWN.get(self.kind, '')}"


def calls(session: Session, now: datetime, places: Collection[str] | None = None) -> list[Call]:
    """Of all institutions. `places` as alarms.decide has them."""
    found = decide(overview.troubled(session, EVERYTHING, now, OF_EACH, places), now, places)
    severe = [one for one in found if one.level is Level.SEVERE]
    channels = _channels(session, {one.recording_id for one in severe})
    grouped: dict[tuple[str, Kind], dict[str, Alarm]] = {}
    for one in severe:
        grouped.setdefault((channels[one.recording_id].slug, one.kind), {})[one.recording_id] = one
    return [_call(channels[next(iter(mine))], kind, list(mine.values())) for (_, kind), mine in grouped.items()]


def _call(channel: Channel, kind: Kind, alarms: list[Alarm]) -> Call:
    of_channel = (channel.slug, channel.institution_id, channel.name_sw, channel.name_en)
    if len(alarms) > 1:
        return Call(kind, len(alarms), *of_channel)
    return Call(kind, 1, *of_channel, alarms[0].recording_id, alarms[0].title_sw, alarms[0].title_en)


def _channels(session: Session, recordings: set[str]) -> dict[str, Channel]:
    query = (
        select(Recording.id, Channel)
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .join(Channel, Channel.id == Broadcast.channel_id)
        .where(Recording.id.in_(recordings))
    )
    return {row.id: row.Channel for row in session.execute(query)}
