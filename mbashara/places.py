"""Where the work process keeps copies: the stores of the places that locations.toml names, as it says now.

Read again every few seconds. Whoever copies, reads or mends holds the same two dictionaries, so what is written there
counts from their next turn on; they look at copies of them, as a dictionary may change while they go through it.

A place goes only after two reads: an editor may save the file by emptying it first, and an order of that moment would
be over. What is new in it, or changed, counts at once.
"""

from dataclasses import dataclass, field

import structlog

from archive.recordings.locations.config import Location, LocationError, local, read_locations
from archive.recordings.locations.opening import open_store
from archive.recordings.locations.store import Store
from mbashara.settings import Settings

GONE_S = 1.0
"""Between a read that names a place no more and the one by which it goes, at least: some reads follow each other at
once."""

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
    _missed_s: dict[str, float] = field(default_factory=dict)
    """Places that are named no more, and since when that is known."""

    def read(self, now_s: float) -> bool:
        """At this moment of a clock that is never set back. Whether anything changed."""
        here = local(self.settings.recordings)
        try:
            named = read_locations(self.settings.locations, self.settings.recordings)
            opened = {one.name: open_store(one) for one in (here, *named) if self._known.get(one.name) != one}
            self.trouble = ""
        except (LocationError, OSError, ValueError, RuntimeError) as error:  # what none of its checks foresaw, too
            if self.trouble != str(error):
                log.error("locations can't be read: what they were before counts", reason=str(error))
            self.trouble = str(error)
            named = tuple(one for name, one in self._known.items() if name != here.name)
            opened = {} if self._known else {here.name: open_store(here)}
        found = {one.name: one for one in (here, *named)}
        self._missed_s = {name: self._missed_s.get(name, now_s) for name in self._known if name not in found}
        found |= {name: self._known[name] for name, at_s in self._missed_s.items() if now_s - at_s < GONE_S}
        for name, store in opened.items():
            self.stores[name], self.pace_days[name] = store, found[name].fixity_days
        for name in self._known.keys() - found.keys():
            del self.stores[name], self.pace_days[name]
        is_changed = found != self._known
        if self._known and is_changed:
            log.info("locations changed", now=list(found))
        self._known = found
        return is_changed
