"""What the archive's pages get of the world: folders, the places of copies, and how much room there is."""

import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from archive.pages import Archive, Place
from archive.recordings import certificates
from archive.recordings.locations.config import FolderLocation, Location
from core.web.limits import Buckets, Rate
from mbashara import __version__
from mbashara.places import SETTLED_S, SaidPlaces
from mbashara.settings import Settings
from player.words import key_help, shell_words

TRIES = Rate(burst=30, per_s=0.5)
"""Files that one address may have checked."""


def open_archive(
    settings: Settings, engine: Engine, rate: Rate = TRIES, clock_s: Callable[[], float] = time.monotonic,
    settled_s: float = SETTLED_S,
) -> Archive:  # fmt: skip
    def authority() -> bytes:
        return certificates.authority(settings.data / "secrets" / "c2pa", datetime.now(UTC))

    said = SaidPlaces(settings, settled_s)
    return Archive(
        engine, settings.recordings, settings.public, settings.signing_keys, authority,
        lambda: [_place(one) for one in said.read()[0]], lambda: said.read()[1], Buckets(rate, clock_s), __version__,
        _player, bool(settings.timestamp_url),
    )  # fmt: skip


def _player(gettext: Callable[[str], str]) -> Mapping[str, Any]:
    return {"words": shell_words(gettext), "key_help": key_help(gettext)}


def _place(one: Location) -> Place:
    def free_bytes() -> int | None:
        if not isinstance(one, FolderLocation):
            return None
        try:
            return shutil.disk_usage(one.path).free
        except OSError:
            return None

    return Place(one.name, one.title_sw, one.title_en, one.tier, one.fixity_days, free_bytes)
