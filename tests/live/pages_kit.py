"""The site for tests: the real routes on a real PostgreSQL, two institutions with their staff, browsers for them.

Each test has a copy of one database that was filled once, so what it changes is gone with it.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pyotp
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.testclient import TestClient

from archive.exports.pages import Desk
from archive.exports.tables import ExportJob
from archive.imports import jobs
from archive.imports.jobs import Wanted
from archive.recordings import custody
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import CUSTODY_NAME, LEDGER_NAME, read_chain
from core import channels
from core.broadcasts import queries as broadcasts
from core.broadcasts.queries import Outline
from core.database import open_engine, transaction
from core.ids import new_id, ulid
from core.staff.mail import FolderMailer
from core.staff.oidc.provider import Provider
from core.staff.permissions import Grant, Role
from core.staff.tables import AuditEntry, LinkedIdentity
from core.tables import Base, Broadcast, Institution, Recording
from core.web.addresses import Addresses
from core.web.assets import Assets
from core.web.headers import SecurityHeaders
from core.web.limits import Rate
from core.web.site import Site
from core.web.staff import Office
from core.webhooks import endpoints
from core.webhooks.endpoints import Made
from ingest.console import Studio
from mbashara.api import uploads
from mbashara.archive_calls import ArchiveCalls
from mbashara.archive_pages import open_archive
from mbashara.load import LoadMeter
from mbashara.media_processes import MediaProcesses
from mbashara.notary import Notary
from mbashara.settings import Settings
from mbashara.web import ROOMS, SiteDoor, error_pages, page_routes
from tests.live.staff_kit import ADMIN, BY, NOW, PASSWORD, PEPPER, added, database, member
from tests.unit.recording_kit import ORIGIN_MS, make_recording
from tests.up import Up

BASE_URL = "https://mbashara.example"
ROOT = "mkuu@ega.go.tz"
CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')
KEY = re.compile(r"<code>([A-Z2-7]{32})</code>")
CODE = re.compile(r"<code>([0-9a-z]{5}-[0-9a-z]{5})</code>")
EXPORT = b"ftyp, and what was exported"
EXPORT_SHA256 = hashlib.sha256(EXPORT).hexdigest()
MOVING = ("staff_session", "audit_entry", "login_failure")
"""Tables that change by someone's mere coming."""
numbers = count(1)


def outline(**more: str) -> dict[str, str]:
    """An institution's form, filled in."""
    return {"slug": "gama", "name_sw": "Gama", "name_en": "Gamma", "kind": "other", **more}


@dataclass(frozen=True, slots=True)
class Tenant:
    """An institution, its channel, a planned broadcast, a webhook, a file that waits to be imported, a recording with
    a finished export, and the ids of two people; the admin may sign on elsewhere."""

    institution_id: int
    slug: str
    channel: str
    broadcast_id: str
    webhook_id: int
    import_id: str
    recording_id: str
    export_id: str
    admin_id: int
    engineer_id: int
    identity_id: int

    @property
    def admin(self) -> str:
        return f"admin@{self.slug}.go.tz"

    @property
    def engineer(self) -> str:
        return f"fundi@{self.slug}.go.tz"


@dataclass(frozen=True, slots=True)
class World:
    """`root` administers the platform. `files` is the folder of data that belongs to the rows: recordings as the notary
    signed them, and his keys; to be copied too."""

    a: Tenant
    b: Tenant
    root_id: int
    files: Path


@dataclass
class Clock:
    now: datetime = NOW

    def forward(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@dataclass
class Browser:
    """One visitor's: keeps cookies, follows no redirect."""

    client: TestClient
    clock: Clock

    def get(self, path: str, **options: Any) -> httpx.Response:
        answer: httpx.Response = self.client.get(path, **options)
        return answer

    def token(self, path: str = "/sw/staff/login") -> str:
        """Of this browser and session: every page's forms have the same."""
        found = CSRF.search(self.get(path).text)
        assert found is not None, f"no form at {path}"
        return found[1]

    def post(self, path: str, fields: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        sent = {"csrf": self.token(), **(fields or {})}
        answer: httpx.Response = self.client.post(path, data=sent, **options)
        return answer

    def log_in(self, email: str, password: str = PASSWORD, language: str = "sw") -> httpx.Response:
        return self.post(f"/{language}/staff/login", {"email": email, "password": password})

    def ask_letter(self, email: str, language: str = "sw") -> str:
        """For a forgotten password; returns the page."""
        return self.post(f"/{language}/staff/forgotten", {"email": email}).text

    def set_up_second_factor(self) -> tuple[pyotp.TOTP, list[str]]:
        """The phone, and the recovery codes as shown."""
        address = "/sw/staff/account/second-factor"
        found = KEY.search(self.get(address).text)
        assert found is not None
        phone = pyotp.TOTP(found[1])
        shown = self.post(address, {"code": phone.at(self.clock.now)})
        return phone, CODE.findall(shown.text)

    @property
    def session(self) -> str:
        return self.client.cookies.get("session") or ""


@dataclass
class Pages:
    app: Starlette
    engine: Engine
    world: World
    mail: Path
    clock: Clock = field(default_factory=Clock)

    def browser(self, address: str = "197.250.1.7") -> Browser:
        client = TestClient(self.app, client=(address, 50_000), raise_server_exceptions=False, follow_redirects=False)
        return Browser(client, self.clock)

    def signed_in(self, email: str) -> Browser:
        browser = self.browser()
        entered = browser.log_in(email)
        assert entered.status_code == 303, entered.text
        return browser

    @property
    def routes(self) -> list[Route]:
        return [route for route in self.app.routes if isinstance(route, Route)]

    @property
    def posted(self) -> list[Route]:
        return [route for route in self.routes if "POST" in (route.methods or ())]

    def institution(self, institution_id: int) -> Institution:
        with transaction(self.engine) as session:
            return session.get_one(Institution, institution_id)

    def rows(self, *without: str) -> dict[str, list[tuple[object, ...]]]:
        """All that is stored, but these tables."""
        tables = [table for table in Base.metadata.sorted_tables if table.name not in without]
        with transaction(self.engine) as session:
            return {
                table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr) for table in tables
            }

    def acts(self, after_id: int = 0) -> list[str]:
        """What the audit log got since."""
        with transaction(self.engine) as session:
            newer = select(AuditEntry.act).where(AuditEntry.id > after_id)
            return list(session.scalars(newer.order_by(AuditEntry.id)))

    def newest_entry(self) -> int:
        with transaction(self.engine) as session:
            return session.scalar(select(func.max(AuditEntry.id))) or 0

    def letters(self) -> list[str]:
        """Links in letters, as paths, oldest first."""
        texts = [_text_of(path) for path in sorted(self.mail.glob("*.eml"))]
        return [urlsplit(re.findall(rf"{BASE_URL}\S+", text)[0]).path for text in texts]


@contextmanager
def filled_database(up: Up, name: str) -> Iterator[World]:
    """To be copied by `pages`. Nobody may be connected to it then."""
    with database(up, name) as engine, tempfile.TemporaryDirectory() as place:
        settings = Settings(data=Path(place))
        settings.recordings.mkdir()
        with transaction(engine) as session:
            a, b = (_tenant(session, slug, settings.recordings) for slug in ("alfa", "beta"))
            world = World(a, b, member(session, ROOT, ADMIN).id, settings.data)
        Notary(settings, engine).sign_due()
        engine.dispose()
        yield world


@contextmanager
def pages(up: Up, filled: str, world: World, folder: Path, provider: Provider | None = None) -> Iterator[Pages]:
    name = f"{filled}_{next(numbers)}"
    with psycopg.connect(up.database_url("postgres"), autocommit=True) as server:
        server.execute(f"create database {name} template {filled}")
        engine = open_engine(up.database_url(name))
        yield _pages(engine, world, folder, provider)
        engine.dispose()
        server.execute(f"drop database {name}")


def _pages(engine: Engine, world: World, folder: Path, provider: Provider | None) -> Pages:
    clock, mail = Clock(), folder / "mail"
    site = Site(ROOMS, Assets(), SiteDoor(engine), lambda: clock.now, bytes(32))
    office = Office(engine, PEPPER, FolderMailer(mail, "Mbashara <mbashara@localhost>"), BASE_URL, folder, provider)
    settings = Settings(data=folder, run_dir=folder / "run", timestamp_url="http://tsa.example")
    away = MediaProcesses(settings)
    settings.imports_folder.mkdir(exist_ok=True)
    desk = Desk(settings.recordings, settings.exports_folder)
    made = desk.exports / world.b.export_id / "faili.mp4"  # b's export
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_bytes(b"a film")
    stills = folder / "stills"
    stills.mkdir(exist_ok=True)
    (stills / f"{world.b.channel}.primary.jpg").write_bytes(b"a picture")  # b's feed, though none is here
    if not settings.recordings.exists():
        for part in (settings.recordings, settings.signing_keys):
            shutil.copytree(world.files / part.relative_to(folder), part)
    load = LoadMeter(settings, away)
    calls = ArchiveCalls(engine, kept_s=0)
    settings.locations.write_text('[[location]]\nname = "dodoma"\nkind = "folder"\npath = "/mnt/dodoma"\n')
    studio = Studio(engine, away, PEPPER, "rtmp://127.0.0.1/live", stills, folder / "live", load.read, archive=calls)
    kept = open_archive(settings, engine, Rate(1000, 1000), settled_s=0)
    app = Starlette(
        routes=page_routes(site, engine, office, studio, uploads.depot(settings), desk, kept),
        middleware=[Middleware(SecurityHeaders), Middleware(Addresses)],
        exception_handlers=error_pages(site),
    )
    return Pages(app, engine, world, mail, clock)


def _tenant(session: Session, slug: str, recordings: Path) -> Tenant:
    institution = added(session, slug)
    channel = f"{slug}-1"
    channels.add_channel(session, channel, name_sw=slug, name_en=slug, pepper=PEPPER, now=NOW, institution=slug)
    admin = member(session, f"admin@{slug}.go.tz", Grant(Role.ADMIN, institution.id))
    engineer = member(session, f"fundi@{slug}.go.tz", Grant(Role.ENGINEER, institution.id))
    linked = LinkedIdentity(
        user_id=admin.id, issuer="https://idp.example", subject=slug, created_at=NOW, last_used_at=NOW
    )
    session.add(linked)
    session.flush()
    plan_id = _plan(session, channel, institution)
    hook_id = _webhook(session, institution)
    recording_id = _recording(session, channel, recordings)
    return Tenant(
        institution.id, slug, channel, plan_id, hook_id, _import(session, channel),
        recording_id, _export(session, recording_id, institution), admin.id, engineer.id, linked.id,
    )  # fmt: skip


def _plan(session: Session, slug: str, institution: Institution) -> str:
    channel = channels.find_channel(session, slug)
    assert channel is not None
    outline = Outline(institution.name_sw, institution.name_en, NOW + timedelta(hours=2))
    randomness = institution.id.to_bytes(10, "big")
    return broadcasts.schedule(session, channel, outline, actor="Asha", now=NOW, randomness=randomness).id


def _import(session: Session, slug: str) -> str:
    channel = channels.find_channel(session, slug)
    assert channel is not None
    job_id = new_id(NOW, channel.id.to_bytes(10, "big"))
    return jobs.add(session, job_id, channel, Wanted(f"{slug}.mp4", 1000), by=BY, now=NOW).id


def _export(session: Session, recording_id: str, institution: Institution) -> str:
    """Of the tenant's recording."""
    export_id = new_id(NOW, (institution.id * 10 + 2).to_bytes(10, "big"))
    file = {"name": "faili.mp4", "size": 6, "sha256": "0" * 64, "from_ms": 0, "to_ms": 60_000}
    session.add(
        ExportJob(
            id=export_id, institution_id=institution.id, recording_id=recording_id, state="done", format="mp4",
            percent=100, attempt=1, detail="", files=[file], agent="staff", asked_by="Asha", created_at=NOW,
        )
    )  # fmt: skip
    return export_id


def _recording(session: Session, slug: str, recordings: Path) -> str:
    """Copied to two places. The notary writes its custody log from the rows, and signs."""
    channel = channels.find_channel(session, slug)
    assert channel is not None
    recording_id, began = ulid(ORIGIN_MS, channel.id.to_bytes(10, "big")), NOW - timedelta(days=2)
    owner = {"institution_id": channel.institution_id}
    session.add(
        Broadcast(
            id=recording_id, channel_id=channel.id, state="ended", title_sw=f"Kikao {slug}", title_en=f"Sitting {slug}",
            air_id=recording_id, started_at=began, ended_at=began + timedelta(seconds=24), created_by="Asha Siri",
            **owner,
        )
    )  # fmt: skip
    session.flush()
    folder = make_recording(recordings, recording=recording_id, is_signed=False)
    (folder / CUSTODY_NAME).unlink()
    ledger = read_chain(folder / LEDGER_NAME)
    session.add(
        Recording(
            id=recording_id, broadcast_id=recording_id, state="complete", started_at=began, duration_ms=24_000,
            ended_at=began + timedelta(seconds=24), size_bytes=9000, ledger_bytes=ledger.size,
            ledger_head=ledger.head, **owner,
        )
    )  # fmt: skip
    session.flush()
    for location, state in (("local", "whole"), ("dodoma", "faulty")):
        session.add(
            RecordingCopy(
                recording_id=recording_id, location=location, state=state, next_try_at=began, files=20, size_bytes=9000,
                next_check_at=NOW + timedelta(days=9), fault="a file was changed" if state == "faulty" else None,
                **owner,
            )
        )  # fmt: skip
    session.flush()
    custody.append(session, recording_id, "ingestion", began, agent="Asha Siri")
    told: dict[str, Any] = {"name": f"{slug}.mp4", "sha256": EXPORT_SHA256, "from_ms": 4000, "to_ms": 8000}
    if slug.startswith("beta"):
        custody.append(session, recording_id, "export", began, agent="Asha Siri", **told)
    return recording_id


def _webhook(session: Session, institution: Institution) -> int:
    url = f"https://{institution.slug}.go.tz/taarifa"
    made = endpoints.add(
        session, institution.id, url, ["broadcast.live"], by=BY, now=NOW, pepper=PEPPER, insecure=False
    )
    assert isinstance(made, Made)
    return made.endpoint.id


def _text_of(path: Path) -> str:
    body = message_from_bytes(path.read_bytes(), policy=policy.default).get_body()
    assert body is not None
    return str(body.get_content())
