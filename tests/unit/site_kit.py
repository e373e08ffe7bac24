"""A site for tests: our rooms, the real templates, a door that nobody comes through, a clock that stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.staff.sessions import SignedIn, Visit
from core.web.assets import Assets
from core.web.site import LiveNow, Site
from mbashara.web import ROOMS

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class StandingDoor:
    """Knows one person's token."""

    on_air: tuple[LiveNow, ...] = ()
    people: Mapping[str, SignedIn] | None = None

    def signed_in(self, token: str, visit: Visit) -> SignedIn | None:
        return (self.people or {}).get(token)

    def live_now(self) -> Sequence[LiveNow]:
        return self.on_air


def make_site(
    more_rooms: Mapping[str, Path] | None = None,
    assets: Assets | None = None,
    door: StandingDoor | None = None,
    public_url: str = "",
) -> Site:
    rooms = {**ROOMS, **(more_rooms or {})}
    return Site(rooms, assets or Assets(), door or StandingDoor(), lambda: NOW, bytes(32), public_url)
