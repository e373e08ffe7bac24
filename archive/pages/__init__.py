"""The archive's pages: for everyone, whether what they have is genuine; for archivists, what is kept and how well."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from archive.pages.lacking import Accounts
from archive.pages.papers import Papers
from core.plain import PlainError
from core.web.limits import Buckets


@dataclass(frozen=True, slots=True)
class Place:
    """Where copies are kept, as people call it. `free_bytes` None: nobody can say."""

    name: str
    title_sw: str
    title_en: str
    tier: str
    fixity_days: float
    free_bytes: Callable[[], int | None]


@dataclass(frozen=True, slots=True)
class Archive:
    """What the pages need of the world. `recordings` is the folder of recordings, `public` what the edge hands
    out, `signing_keys` that of the private keys; `authority` gives the certificate (PEM) that content credentials are
    trusted by; `places` where copies are kept, and `places_trouble` why that can't be read (None: it can); `tries`
    bounds what one address may have checked; `version` is the program's; `player` gives what the player's template
    says, by a gettext; `is_stamped`: a time-stamp authority is set."""

    engine: Engine
    recordings: Path
    public: Path
    signing_keys: Path
    authority: Callable[[], bytes]
    places: Callable[[], Sequence[Place]]
    places_trouble: Callable[[], PlainError | None]
    tries: Buckets
    version: str
    player: Callable[[Callable[[str], str]], Mapping[str, Any]]
    is_stamped: bool = False
    papers: Papers = field(default_factory=Papers)
    accounts: Accounts = field(default_factory=Accounts)

    def titles(self, pick: Callable[[str, str], str]) -> dict[str, str]:
        """What people call each place."""
        return {one.name: pick(one.title_sw, one.title_en) or one.name for one in self.places()}

    def place_names(self) -> frozenset[str] | None:
        """None: nobody can say."""
        return None if self.places_trouble() else frozenset(one.name for one in self.places())
