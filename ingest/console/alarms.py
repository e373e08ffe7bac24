"""What an engineer is called for: alarms decided from what media tells and what is planned. No clock, no database.

**severe**: viewers of a broadcast lose something now, or the machine can't keep it. **mild**: they may soon, or did
until a broadcast's end and nobody has seen it (unseen.py).
What is found must stay so for a moment before it is an alarm (`RAISE_AFTER`), and one that was gone for less than
`FORGET_AFTER` is the same one when it comes back: who acknowledged it isn't called again by a feed that flickers.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import Any

from core.keys import TurnedAway
from ingest.health.issues import IssueType, State
from ingest.health.issues import Level as IssueLevel

Told = dict[str, Any]

DUE_SOON = timedelta(minutes=10)
OVERDUE = timedelta(minutes=30)
"""A plan whose time has passed by more than this is nobody's hurry any more."""
RAISE_AFTER = timedelta(seconds=2)
FORGET_AFTER = timedelta(seconds=10)
UNWATCHED = timedelta(seconds=5)
"""Nobody has looked for so long: what is found then is old already, and is an alarm at once."""
SILENT_BPS = 8_000
"""AAC of silence takes 2 to 6 kbit/s at any setting; of anyone who speaks more than 16."""


class Level(StrEnum):
    SEVERE = "severe"
    MILD = "mild"


class Kind(StrEnum):
    NO_FEED = "no_feed"
    FEED_LOST = "feed_lost"
    FEED_STALLED = "feed_stalled"
    LOST_TO_THE_END = "lost_to_the_end"
    KEY_REVOKED = "key_revoked"
    ADDRESS_REFUSED = "address_refused"
    NO_SOUND = "no_sound"
    SILENT = "silent"
    HEALTH = "health"
    DISK_REFUSES = "disk_refuses"
    MEMORY_REFUSES = "memory_refuses"
    DISK_LOW = "disk_low"
    MEDIA_AWAY = "media_away"
    MEDIA_SHUT_OUT = "media_shut_out"
    ARCHIVE = "archive"


MACHINE = {
    Kind.DISK_REFUSES: Level.SEVERE, Kind.MEMORY_REFUSES: Level.SEVERE, Kind.DISK_LOW: Level.MILD,
    Kind.MEDIA_AWAY: Level.SEVERE, Kind.MEDIA_SHUT_OUT: Level.SEVERE,
}  # fmt: skip


TURNED_AWAY = {TurnedAway.REVOKED: Kind.KEY_REVOKED, TurnedAway.ADDRESS: Kind.ADDRESS_REFUSED}
"""Not for a key in use: the feed that has it is there, or is lost in a moment and the encoder comes in."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A broadcast as alarms see it. `is_ending`: an engineer has asked for its end."""

    channel: str
    institution_id: int
    name_sw: str
    name_en: str
    broadcast_id: str
    is_live: bool
    has_begun: bool = False
    is_ending: bool = False
    planned_start_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OfArchive:
    """What the archive calls for: `count` recordings of a channel. `path`: its page there, behind the language. Where
    it is one recording, its id and titles."""

    kind: str
    count: int
    channel: str
    institution_id: int
    name_sw: str
    name_en: str
    cause_sw: str
    cause_en: str
    remedy_sw: str
    remedy_en: str
    path: str
    recording_id: str = ""
    title_sw: str = ""
    title_en: str = ""

    @property
    def key(self) -> str:
        """Twice as many are another alarm: it changes where their number passes 2, 4, 8 and so on."""
        return f"{self.kind}.{self.recording_id or 1 << (self.count.bit_length() - 1)}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A broadcast that is over, or will be in a moment (`at` None). `by`: who asked for it; None: nobody did."""

    title_sw: str
    title_en: str
    at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """`of` None: the machine's. `role`: of the feed it is about. `issue`: as media tells it, of Kind.HEALTH. `ended`:
    of Kind.LOST_TO_THE_END."""

    kind: Kind
    level: Level
    plan: Plan | None = None
    role: str = ""
    issue: Told | None = None
    archive: OfArchive | None = None
    ended: Ended | None = None

    @property
    def of(self) -> Plan | OfArchive | None:
        """Who has its channel, its name and its institution."""
        return self.plan or self.archive

    @property
    def channel(self) -> str:
        return self.of.channel if self.of else ""

    @property
    def key(self) -> str:
        """The same alarm has the same key. A mild one that was acknowledged says nothing of the severe one."""
        if self.archive is not None:
            return ".".join([self.archive.channel, self.kind, self.archive.key, self.level])
        place = [self.plan.channel, self.plan.broadcast_id] if self.plan else []
        about = [self.role] if self.role else []
        return ".".join([*place, self.kind, *about, *([self.issue["type"]] if self.issue else []), self.level])


@dataclass(frozen=True, slots=True)
class Held:
    """An alarm since when, and when it was last found."""

    alarm: Alarm
    since: datetime
    found_at: datetime


@dataclass(slots=True)
class Memory:
    """What is remembered between two looks; lost with the process, then what is wrong is an alarm anew."""

    held: Mapping[str, Held] = field(default_factory=dict)
    roles: frozenset[tuple[str, str]] = frozenset()
    """Of each broadcast: the feeds it has had."""
    looked_at: datetime | None = None
    lock: Lock = field(default_factory=Lock)

    def look(
        self, plans: Sequence[Plan], feeds: Sequence[Told], machine: Iterable[str], now: datetime,
        archive: Iterable[OfArchive] = (), refused: Sequence[Told] = (),
    ) -> list[Held]:  # fmt: skip
        """The alarms that stand now, the gravest and then the oldest first."""
        with self.lock:
            self.roles = roles_after(self.roles, plans, feeds)
            found = [*of_machine(machine), *of_plans(plans, feeds, self.roles, now), *map(of_archive, archive)]
            found += of_refused(plans, feeds, refused, now)
            at_once = self.looked_at is None or now - self.looked_at > UNWATCHED
            self.held = hold(self.held, found, now, at_once=at_once)
            self.looked_at = now
            return standing(self.held.values(), now)


def of_machine(troubles: Iterable[str]) -> list[Alarm]:
    return [Alarm(Kind(one), MACHINE[Kind(one)]) for one in troubles]


def of_archive(told: OfArchive) -> Alarm:
    """Severe: what was on the air may be lost."""
    return Alarm(Kind.ARCHIVE, Level.SEVERE, archive=told)


def of_plans(
    plans: Sequence[Plan], feeds: Sequence[Told], roles: Collection[tuple[str, str]], now: datetime
) -> Iterator[Alarm]:
    by_channel: dict[str, list[Told]] = {}
    by_broadcast: dict[str, list[str]] = {}
    for feed in feeds:
        by_channel.setdefault(feed["channel"], []).append(feed)
    for broadcast_id, role in roles:
        by_broadcast.setdefault(broadcast_id, []).append(role)
    for plan in plans:
        yield from decide(plan, by_channel.get(plan.channel, ()), by_broadcast.get(plan.broadcast_id, ()), now)


def decide(plan: Plan, feeds: Sequence[Told], expected: Collection[str], now: datetime) -> Iterator[Alarm]:
    """Of one broadcast. `expected`: the roles of feeds that it has had."""
    if plan.is_ending or not (plan.is_live or is_due(plan, now)):
        return
    if not feeds:
        level = Level.SEVERE if plan.is_live else Level.MILD
        yield Alarm(Kind.FEED_LOST if plan.has_begun or expected else Kind.NO_FEED, level, plan)
        return
    there = {feed["role"] for feed in feeds}
    yield from (Alarm(Kind.FEED_LOST, Level.MILD, plan, role) for role in sorted(expected) if role not in there)
    for feed in feeds:
        shown = plan.is_live and (feed["on_air"] or len(feeds) == 1)
        yield from of_feed(plan, feed, Level.SEVERE if shown else Level.MILD)


def of_refused(plans: Sequence[Plan], feeds: Sequence[Told], refused: Sequence[Told], now: datetime) -> Iterator[Alarm]:
    """Encoders that are turned away, of a broadcast that has no feed or wants a second one: none is missed where the
    feed of that role brings something."""
    fed, by_channel = {feed["channel"] for feed in feeds}, {plan.channel: plan for plan in plans}
    roles = {(feed["channel"], feed["role"]) for feed in feeds if feed["state"] != State.NO_DATA}
    for one in refused:
        plan, kind = by_channel.get(one["channel"]), TURNED_AWAY.get(one["why"])
        if plan is None or kind is None or plan.is_ending or not (plan.is_live or is_due(plan, now)):
            continue
        if (one["channel"], one["role"]) in roles:
            continue
        is_grave = plan.is_live and plan.channel not in fed
        yield Alarm(kind, Level.SEVERE if is_grave else Level.MILD, plan, one["role"])


def is_due(plan: Plan, now: datetime) -> bool:
    start = plan.planned_start_at
    return start is not None and start - DUE_SOON <= now <= start + OVERDUE


def of_feed(plan: Plan, feed: Told, level: Level) -> Iterator[Alarm]:
    role = feed["role"]
    if feed["state"] == State.NO_DATA:
        yield Alarm(Kind.FEED_STALLED, level, plan, role)
        return
    for issue in feed["issues"]:
        if issue["type"] == IssueType.NO_AUDIO_STREAM:
            yield Alarm(Kind.NO_SOUND, level, plan, role)
        elif issue["type"] == IssueType.AUDIO_BITRATE_LOW and (issue["value"] or 0) < SILENT_BPS:
            yield Alarm(Kind.SILENT, level, plan, role)
        elif issue["level"] == IssueLevel.ERROR:
            yield Alarm(Kind.HEALTH, level, plan, role, issue)


def roles_after(
    roles: frozenset[tuple[str, str]], plans: Sequence[Plan], feeds: Sequence[Told]
) -> frozenset[tuple[str, str]]:
    """The roles that each broadcast has had, of those that there still are."""
    by_channel = {plan.channel: plan.broadcast_id for plan in plans}
    now = {(by_channel[feed["channel"]], feed["role"]) for feed in feeds if feed["channel"] in by_channel}
    present = {plan.broadcast_id for plan in plans}
    return frozenset(now | {pair for pair in roles if pair[0] in present})


def hold(
    before: Mapping[str, Held], found: Iterable[Alarm], now: datetime, *, at_once: bool = False
) -> dict[str, Held]:
    """`at_once`: nobody has looked for a while. What is new is then as old as it has to be to be an alarm, and what
    is found again was there all the time."""
    since = now - RAISE_AFTER if at_once else now
    kept = {key: one for key, one in before.items() if at_once or now - one.found_at < FORGET_AFTER}
    fresh = {alarm.key: alarm for alarm in found}
    return kept | {key: Held(alarm, kept[key].since if key in kept else since, now) for key, alarm in fresh.items()}


def standing(held: Iterable[Held], now: datetime) -> list[Held]:
    return in_order(one for one in held if one.found_at == now and now - one.since >= RAISE_AFTER)


def in_order(held: Iterable[Held]) -> list[Held]:
    """The gravest and then the oldest first."""
    return sorted(held, key=lambda one: (one.alarm.level is Level.MILD, one.since, one.alarm.key))
