"""Where the work process keeps copies: the stores of the places that locations.toml names, as it says now.

Read again every few seconds. Whoever copies, reads or mends holds the same two dictionaries, so what is written there
counts from their next turn on; they look at copies of them, as a dictionary may change while they go through it.

What the file says counts once it has said the very same for some seconds: half a file may be good TOML too, with a
place missing, or without its prefix, its lock or its pace. Until then what counted before does; at first, this machine
alone.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from archive.recordings.locations.config import Location, LocationError, being_written, local, read_locations
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.opening import open_store
from archive.recordings.locations.store import Store
from mbashara.settings import Settings

SETTLED_S = 3.0
"""Between the first read that finds the file as it is and the one by which it counts, at least: some reads follow each
other at once."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.places")


@dataclass(slots=True)
class Places:
    """`local`, where all copies come from, is always among them. A store that is named no more is not closed: a turn
    may be using it."""

    settings: Settings
    stores: dict[str, Store] = field(default_factory=dict)
    pace_days: dict[str, float] = field(default_factory=dict)
    trouble: str = ""
    """Why the file can't be used; what it said before counts until it can."""
    _known: dict[str, Location] = field(default_factory=dict)
    _said: dict[str, Location] | None = None
    """What the last read that could be used found, and since when it is found."""
    _since_s: float = 0.0

    @property
    def is_settled(self) -> bool:
        """Whether what the file says is what counts."""
        return not self.trouble and self._said == self._known

    def read(self, now_s: float) -> bool:
        """At this moment of a clock that is never set back. Whether anything counts that did not before."""
        here = local(self.settings.recordings)
        counted = self._known or {here.name: here}
        try:
            named = read_locations(self.settings.locations, self.settings.recordings)
            found = {one.name: one for one in (here, *named)}
            if found != self._said:
                self._said, self._since_s = found, now_s
            counts = now_s - self._since_s >= SETTLED_S or (not self._known and self._is_old())
            wanted = found if counts else counted
            opened = self._opened(wanted)
            self.trouble = ""
        except (LocationError, OSError, ValueError, RuntimeError) as error:  # what none of its checks foresaw, too
            if self.trouble != str(error):
                log.error("locations can't be read: what they were before counts", reason=str(error))
            self.trouble, self._said = str(error), None
            wanted, opened = counted, self._opened(counted)
        return self._count(wanted, opened)

    def tidy(self, before: datetime) -> None:
        """Removes what puts that were killed before then left half done. A place that can't be asked, or can't tell, is
        asked the next time. Blocks."""
        for name, store in dict(self.stores).items():
            with suppress(StoreError):
                count = store.tidy(before)
                if count:
                    log.info("half done puts removed", location=name, count=count)

    def _opened(self, wanted: dict[str, Location]) -> dict[str, Store]:
        return {name: open_store(one) for name, one in wanted.items() if self._known.get(name) != one}

    def _count(self, wanted: dict[str, Location], opened: dict[str, Store]) -> bool:
        before, self._known = self._known, wanted
        for name, store in opened.items():
            self.stores[name], self.pace_days[name] = store, wanted[name].fixity_days
        for name in before.keys() - wanted.keys():
            del self.stores[name], self.pace_days[name]
        for told in _changes(before, wanted) if before else ():
            log.info("locations changed", **told)
        return before != wanted

    def _is_old(self) -> bool:
        """Nobody is writing it. Where there is none, nobody is known to."""
        try:
            return time.time() - self.settings.locations.stat().st_ctime >= SETTLED_S
        except FileNotFoundError:
            return True


@dataclass(slots=True)
class SaidPlaces:
    """What the file says, for pages that ask now and then and keep nothing open: once it stands still, too."""

    settings: Settings
    settled_s: float = SETTLED_S
    _counted: tuple[Sequence[Location], LocationError | None] | None = None
    _state: object = ""
    """Of the file when it was read last, and since when it is like that."""
    _since_s: float = 0.0

    def read(self) -> tuple[Sequence[Location], LocationError | None]:
        """With this machine. What is wrong costs the pages only names, and is told there."""
        here = local(self.settings.recordings)
        try:
            found: tuple[Sequence[Location], LocationError | None] = (
                (here, *read_locations(self.settings.locations, self.settings.recordings)), None
            )  # fmt: skip
        except LocationError as error:
            found = (here,), error
        if self._is_at_rest():
            self._counted = found
        if self._counted is None:
            return found[0], found[1] or being_written(self.settings.locations)
        return self._counted

    def names(self) -> frozenset[str] | None:
        """None: nobody can say."""
        found, trouble = self.read()
        return None if trouble else frozenset(one.name for one in found)

    def _is_at_rest(self) -> bool:
        """Asked after it was read: who began to write it meanwhile is noticed."""
        try:
            found = self.settings.locations.stat()
            state, is_old = (
                (found.st_ino, found.st_size, found.st_ctime_ns),
                time.time() - found.st_ctime >= self.settled_s,
            )
        except OSError:
            state, is_old = None, self._counted is None
        if state != self._state:
            self._state, self._since_s = state, time.monotonic()
        return is_old or time.monotonic() - self._since_s >= self.settled_s


def settled(places: Places) -> None:
    """At the start: waits once for a file that was written just now, and tells if it is not at rest then. Blocks."""
    places.read(time.monotonic())
    if not places.is_settled and not places.trouble:
        time.sleep(SETTLED_S + 0.1)
        places.read(time.monotonic())
    if not places.is_settled:
        log.error("locations are not known yet: nothing is copied, checked or held elsewhere until they are")


def _changes(before: dict[str, Location], now: dict[str, Location]) -> Iterator[dict[str, Any]]:
    """Each place that came, went or is another; of what is secret, only that it changed."""
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old is None or new is None:
            yield {"location": name, "what": "new" if old is None else "gone"}
        elif old != new:
            was, then = old.model_dump(mode="json"), new.model_dump(mode="json")
            fields = {one: [was.get(one), then.get(one)] for one in was.keys() | then.keys()}
            told = {one: pair for one, pair in sorted(fields.items()) if pair[0] != pair[1]}
            yield {"location": name, "what": "changed", "fields": told or ["credentials"]}
