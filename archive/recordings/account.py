"""Accounts for every millisecond of a recording: what of the time on the air is held, in each rendition and at all, and
why the rest is not. Held and gaps always add up to the time on the air.

All of it follows from the ledger: `file` facts are what there is, but for their `gaps`; `absent` and `gap` facts say
why there is nothing.
An encoder that was lost and never came back ended the time on the air: until the broadcast's end it was waited for.
Times are whole milliseconds on the broadcast's timeline; stretches are half-open, sorted and apart from each other.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archive.recordings.verify import LEFT_OUT, NO_MEDIA, NO_PICTURE, PICTURE_MS, Wait, held_in, waited_for

Fact = dict[str, Any]

MISSING = "file missing"
ELSEWHERE = "elsewhere"
"""Another rendition has what this one lacks."""
SOUND_ONLY = "sound only"
UNTOLD = "untold"


class Stretch(NamedTuple):
    """`cause` is empty where there is media."""

    from_ms: int
    to_ms: int
    cause: str = ""

    @property
    def length_ms(self) -> int:
        return self.to_ms - self.from_ms


@dataclass(frozen=True, slots=True)
class Holding:
    """What there is of one rendition, or (`name` empty) of all of the leading kind together."""

    name: str
    kind: str
    held_ms: int
    gaps: tuple[Stretch, ...]

    @property
    def gap_ms(self) -> int:
        return sum(gap.length_ms for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Account:
    """On the air from `from_ms` to `to_ms`, on the timeline that begins at `origin_ms` of Unix time. `is_over` is False
    while the recording grows. `waited_ms`: how long nothing was on the air any more before the broadcast was ended."""

    origin_ms: int
    from_ms: int
    to_ms: int
    is_over: bool
    best: Holding
    renditions: tuple[Holding, ...]
    files: int
    size_bytes: int
    waited_ms: int = 0

    @property
    def on_air_ms(self) -> int:
        return self.to_ms - self.from_ms


@dataclass(slots=True)
class _Told:
    """What the ledger says of one rendition."""

    kind: str = ""
    held: list[Stretch] = field(default_factory=list)
    missing: list[Stretch] = field(default_factory=list)
    absent: list[Stretch] = field(default_factory=list)
    gaps: list[Stretch] = field(default_factory=list)
    left_out: list[Stretch] = field(default_factory=list)
    """By a feed that went on."""
    silent: list[Stretch] = field(default_factory=list)
    """Within segments."""


def account(facts: Iterable[Fact], is_there: Callable[[Fact], bool] = lambda fact: True) -> Account:
    """`is_there` tells of a `file` fact whether the file can be had: from the folder, or from a copy."""
    facts = list(facts)
    told: dict[str, _Told] = {}
    everywhere: list[Stretch] = []
    files: dict[str, Fact] = {}
    origin_ms, duration_ms, is_over = 0, 0, False
    for fact in facts:
        match fact.get("fact"):
            case "started":
                origin_ms = int(fact.get("origin_ms", 0))
            case "rendition":
                told.setdefault(str(fact["name"]), _Told()).kind = str(fact["kind"])
            case "file":
                files[str(fact["name"])] = fact
            case "absent":
                one = told.setdefault(str(fact["rendition"]), _Told())
                _place(one, one.absent, fact, str(fact.get("cause", UNTOLD)))
            case "gap" if "rendition" in fact:
                one = told.setdefault(str(fact["rendition"]), _Told())
                is_left_out = fact.get("cause") in LEFT_OUT
                (one.left_out if is_left_out else one.gaps).append(_stretch(fact))
            case "gap":
                everywhere.append(_stretch(fact))
            case "ended":
                duration_ms, is_over = max(duration_ms, round(fact["duration_ms"])), True
            case "resumed":
                is_over = False
    for fact in files.values():
        _place_file(told, fact, is_there)
    return _sum_up(told, everywhere, origin_ms, duration_ms, is_over, files, waited_for(facts))


def _place_file(told: dict[str, _Told], fact: Fact, is_there: Callable[[Fact], bool]) -> None:
    """An initialisation has no time of its own."""
    if fact.get("from_ms") is None or fact.get("rendition") is None:
        return
    one = told.setdefault(str(fact["rendition"]), _Told())
    if is_there(fact):
        _place(one, one.held, fact, "")
    else:
        _place(one, one.missing, fact, MISSING)


def _place(one: _Told, among: list[Stretch], fact: Fact, cause: str) -> None:
    """What a segment's line is about, and beside that what of it holds nothing."""
    begin, end = round(fact["from_ms"]), round(fact["to_ms"])
    among += [Stretch(*span, cause) for span in held_in({**fact, "from_ms": begin, "to_ms": end})]
    one.silent.extend(Stretch(since, until, NO_MEDIA) for since, until in fact.get("gaps") or ())


def _stretch(fact: Fact) -> Stretch:
    return Stretch(round(fact["from_ms"]), round(fact["to_ms"]), str(fact.get("cause", UNTOLD)))


def _sum_up(
    told: dict[str, _Told], everywhere: list[Stretch], origin_ms: int, duration_ms: int, is_over: bool,
    files: dict[str, Fact], wait: Wait | None,
) -> Account:  # fmt: skip
    timed = [
        one for each in told.values()
        for one in (*each.held, *each.missing, *each.absent, *each.gaps, *each.left_out, *each.silent)
    ]  # fmt: skip
    timed += everywhere
    from_ms = min((one.from_ms for one in timed), default=0)
    to_ms = max([duration_ms, from_ms, *(one.to_ms for one in timed)])
    tail = Stretch(to_ms, to_ms)
    if wait is not None:
        tail, to_ms = Stretch(wait.lost_ms, wait.from_ms), wait.from_ms
    whole = Stretch(from_ms, to_ms)
    kinds = {name: each.kind or ("audio" if name.endswith("audio") else "video") for name, each in sorted(told.items())}
    leading = "video" if "video" in kinds.values() else "audio"
    leaders = {name: each for name, each in told.items() if kinds[name] == leading}
    best = _hold(leaders, told, everywhere, whole, tail, SOUND_ONLY)
    each_alone = [
        (name, _hold({name: told[name]}, told, _of_kind(everywhere, kind, leaders, told[name]), whole, tail, ELSEWHERE))
        for name, kind in kinds.items()
    ]
    return Account(
        origin_ms, from_ms, to_ms, is_over, Holding("", leading, *best),
        tuple(Holding(name, kinds[name], *held) for name, held in each_alone),
        len(files), sum(int(fact["size"]) for fact in files.values()), wait.to_ms - wait.from_ms if wait else 0,
    )  # fmt: skip


def _of_kind(everywhere: list[Stretch], kind: str, leaders: dict[str, _Told], mine: _Told) -> list[Stretch]:
    """What was told of all, as far as it concerns sound: not that there was no picture alone. Where a feed ends, its
    sound is over up to a picture before its last picture is."""
    if kind != "audio":
        return everywhere
    pictures, sounds = {one.to_ms for each in leaders.values() for one in each.held}, {one.to_ms for one in mine.held}
    return [
        one._replace(from_ms=min(sounds & set(range(one.from_ms - PICTURE_MS, one.from_ms)), default=one.from_ms))
        if one.from_ms in pictures else one
        for one in everywhere if one.cause != NO_PICTURE
    ]  # fmt: skip


def _hold(
    mine: dict[str, _Told], told: dict[str, _Told], everywhere: list[Stretch], whole: Stretch, tail: Stretch,
    otherwise: str,
) -> tuple[int, tuple[Stretch, ...]]:  # fmt: skip
    """How long `mine` hold media together, and the gaps, each with the first cause that is told of it. `tail`: between
    the picture's end and that of all that came, where the feed is not lost for those that had something."""
    held = merged(one for each in mine.values() for one in each.held)
    others = merged(one for name, each in told.items() if name not in mine for one in each.held)
    reasons = (
        (one for each in mine.values() for one in each.missing),
        (one._replace(cause=otherwise) for one in within([tail], others)),
        everywhere,
        (one for each in mine.values() for one in each.left_out),
        (one for each in mine.values() for one in each.absent),
        (one for each in mine.values() for one in each.gaps),
        (one for each in mine.values() for one in each.silent),
        (one._replace(cause=otherwise) for one in others),
        [whole._replace(cause=UNTOLD)],
    )
    left, gaps = without([whole] if whole.length_ms else [], held), list[Stretch]()
    for reason in reasons:
        causes = apart(reason)
        gaps += within(left, causes)
        left = without(left, causes)
    return sum(one.length_ms for one in held), tuple(joined(sorted(gaps)))


# Stretches.


def apart(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Sorted, and where two overlap the earlier one has it."""
    found: list[Stretch] = []
    for one in sorted(stretches):
        begin = max(one.from_ms, found[-1].to_ms) if found else one.from_ms
        if one.to_ms > begin:
            found.append(one._replace(from_ms=begin))
    return found


def joined(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Those that touch and have the same cause as one."""
    last: Stretch | None = None
    for one in stretches:
        if last is not None and last.to_ms == one.from_ms and last.cause == one.cause:
            last = last._replace(to_ms=one.to_ms)
            continue
        if last is not None:
            yield last
        last = one
    if last is not None:
        yield last


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """All together, whatever their causes."""
    return list(joined(apart(one._replace(cause="") for one in stretches)))


def within(stretches: Sequence[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    """What of `stretches` is in `others` too, with the causes of `others`."""
    found = list[Stretch]()
    for one in stretches:
        at = bisect_right(others, one.from_ms, key=lambda other: other.to_ms)
        while at < len(others) and others[at].from_ms < one.to_ms:
            begin, end = max(one.from_ms, others[at].from_ms), min(one.to_ms, others[at].to_ms)
            found.append(Stretch(begin, end, others[at].cause))
            at += 1
    return found


def without(stretches: Sequence[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    """What of `stretches` is not in `others`."""
    found = list[Stretch]()
    for one in stretches:
        begin = one.from_ms
        for other in within([one], others):
            if other.from_ms > begin:
                found.append(one._replace(from_ms=begin, to_ms=other.from_ms))
            begin = other.to_ms
        if one.to_ms > begin:
            found.append(one._replace(from_ms=begin))
    return found
