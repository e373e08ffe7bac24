"""What the archive's pages get of the world: folders, the places of copies, and how much room there is."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Engine

from archive.pages import Archive, Place
from archive.recordings import certificates
from archive.recordings.locations.config import FolderLocation, Location, LocationError, local, read_locations
from core.plain import PlainError
from core.web.limits import Buckets, Rate
from mbashara import __version__
from mbashara.settings import Settings
from player.words import key_help, shell_words

TRIES = Rate(burst=30, per_s=0.5)
"""Files that one address may have checked."""


def open_archive(
    settings: Settings, engine: Engine, rate: Rate = TRIES, clock_s: Callable[[], float] = time.monotonic
) -> Archive:
    def authority() -> bytes:
        return certificates.authority(settings.data / "secrets" / "c2pa", datetime.now(UTC))

    return Archive(
        engine, settings.recordings, settings.public, settings.signing_keys, authority, partial(_places, settings),
        partial(_trouble, settings), Buckets(rate, clock_s), __version__, _player,
    )  # fmt: skip


def _player(gettext: Callable[[str], str]) -> Mapping[str, Any]:
    return {"words": shell_words(gettext), "key_help": key_help(gettext)}


def place_names(settings: Settings) -> frozenset[str] | None:
    """Where copies are kept, as locations.toml says now; None where it can't be read."""
    found, trouble = _read(settings)
    return None if trouble else frozenset(one.name for one in found)


def _places(settings: Settings) -> Sequence[Place]:
    return [_place(one) for one in _read(settings)[0]]


def _trouble(settings: Settings) -> PlainError | None:
    return _read(settings)[1]


def _read(settings: Settings) -> tuple[Sequence[Location], PlainError | None]:
    """As the file says now; what it says wrongly costs the pages only names, and is told there (the work process logs
    it)."""
    here = local(settings.recordings)
    try:
        return (here, *read_locations(settings.locations, settings.recordings)), None
    except LocationError as error:
        return (here,), error


def _place(one: Location) -> Place:
    def free_bytes() -> int | None:
        if not isinstance(one, FolderLocation):
            return None
        try:
            return shutil.disk_usage(one.path).free
        except OSError:
            return None

    return Place(one.name, one.title_sw, one.title_en, one.tier, one.fixity_days, free_bytes)
