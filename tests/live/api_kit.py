"""What tests of the API begin with: the API on a real database, tokens, a clock that is moved, a media that stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from archive.exports.pages import Desk
from core.broadcasts.viewers import Viewers
from core.database import transaction
from core.staff import tokens
from core.staff.tokens import SCOPES, Made, NewToken
from core.web.limits import Rate
from mbashara.api import app as api
from mbashara.api.caller import Json
from tests.live.staff_kit import BY, NOW, PEPPER

UNLIMITED = Rate(1_000_000, 1)
ISSUE = {"type": "noAudioStream", "level": "error", "value": 12.0, "limit": None}


def feed(channel: str) -> Json:
    return {
        "channel": channel, "feed": f"feed-{channel}", "role": "primary", "on_air": True, "since": NOW.isoformat(),
        "address": "197.250.1.7", "encoder": "OBS", "tracks": [], "measures": {"pace": 1.0}, "state": "bad",
        "issues": [ISSUE], "levels": {"at_s": NOW.timestamp(), "sides": [{"peak_dbfs": -6.0, "rms_dbfs": -9.0}]},
    }  # fmt: skip


@dataclass
class StandingMedia:
    """Has a feed on each channel that it is told of; remembers which channels it was told to look at."""

    channels: list[str] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    obeys: bool = True

    def feeds_told(self) -> tuple[list[Json], bool]:
        return [feed(channel) for channel in self.channels], True

    def series(self, slug: str, role: str, step_s: int, from_s: float) -> Json | None:
        return {"step_s": step_s, "at_s": [], "columns": {}} if slug in self.channels else None

    def viewers(self) -> dict[str, Viewers]:
        return {channel: Viewers(12, 3) for channel in self.channels}

    def refresh(self, slug: str) -> bool:
        self.refreshed.append(slug)
        return self.obeys


@dataclass
class Stage:
    """The API with its time in the test's hands."""

    engine: Engine
    media: StandingMedia = field(default_factory=StandingMedia)
    now: datetime = NOW
    folder: Path = Path("/nonexistent")
    clock_s: float = 0.0
    token_rate: Rate = UNLIMITED
    wrong_token_rate: Rate = UNLIMITED

    @cached_property
    def api(self) -> FastAPI:
        return api.application(
            self.engine, PEPPER, self.media, desk=Desk(self.folder, self.folder), now=lambda: self.now,
            clock_s=lambda: self.clock_s, token_rate=self.token_rate, wrong_token_rate=self.wrong_token_rate,
        )  # fmt: skip

    def app(self) -> Starlette:
        return Starlette(routes=[Mount(api.PATH, self.api)])

    def pass_s(self, seconds: float) -> None:
        self.now, self.clock_s = self.now + timedelta(seconds=seconds), self.clock_s + seconds

    def client(self, token: str, **headers: str) -> TestClient:
        shown = {"authorization": f"Bearer {token}", **headers}
        return TestClient(self.app(), f"http://testserver{api.PATH}", headers=shown)


def token(engine: Engine, name: str, institution_id: int | None = None, scopes: frozenset[str] = SCOPES) -> str:
    with transaction(engine) as session:
        made = tokens.create(session, NewToken(name, scopes, 30, institution_id), by=BY, now=NOW)
        assert isinstance(made, Made)
        return made.plain


def new_broadcast(channel: str, **more: object) -> Mapping[str, object]:
    start = datetime(2026, 12, 1, 9, tzinfo=UTC).isoformat()
    return {"channel": channel, "title_sw": "Kikao", "title_en": "Sitting", "planned_start_at": start, **more}
