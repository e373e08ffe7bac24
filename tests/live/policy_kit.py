"""A closed recording with copies in two folders, and people of two institutions, for tests of the archive's rules."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from archive.recordings import copies, disposal, policy, rows
from archive.recordings.describe import describe_closed
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.store import Store
from archive.recordings.policy_tables import DisposalRequest
from archive.recordings.verify import LEDGER_NAME, read_chain
from core.audit import Actor
from core.channels import add_channel, find_channel
from core.database import transaction
from core.ids import ulid
from core.staff.permissions import Grant, Role
from core.tables import Recording
from mbashara.notary import Notary
from mbashara.settings import Settings
from tests.live.staff_kit import PEPPER, invited

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
BEGAN = datetime(2020, 2, 29, 9, tzinfo=UTC)


@dataclass(slots=True)
class Scene:
    """`stores` by their names: `local`, which is where the recordings are, and `arusha`."""

    engine: Engine
    settings: Settings
    stores: dict[str, Store]
    institution_id: int
    channel_id: int
    other_id: int
    asker: Actor
    approver: Actor
    second: Actor
    recordings: list[str] = field(default_factory=list)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with transaction(self.engine) as session:
            yield session

    def record(self, *, over: bool = True) -> str:
        """Its copies are whole, and its papers signed and copied."""
        recording_id = new_id()
        folder = lay(self.settings.recordings, recording_id, self.channel_id, self.institution_id, over=over)
        with self.session() as session:
            rows.apply(session, recording_id, (folder / LEDGER_NAME).read_bytes())
            rows.close(session, recording_id, 10_000, 36, [])
            describe_closed(session, recording_id, NOW)
        if over:
            self.settle()
        return recording_id

    def settle(self) -> None:
        """What the notary and the copier of the work process do in their rounds."""
        Notary(self.settings, self.engine).sign_due()
        for _ in range(3):
            with self.session() as session:
                copies.want(session, list(self.stores), NOW)
                turns = copies.due(session, list(self.stores), NOW + timedelta(hours=1), 20)
            for turn in turns:
                copied = copies.copy_files(self.stores[turn.location], self.settings.recordings, turn)
                with self.session() as session:
                    copies.note(session, turn, copied, NOW)
            Notary(self.settings, self.engine).sign_due()
        with self.session() as session:
            copies.count_here(session, self.settings.recordings)

    def order(self, recording_id: str) -> DisposalRequest:
        """Asked for and approved."""
        with self.session() as session:
            asked = disposal.ask(session, self.institution_id, recording_id, "imekwisha", by=self.asker, now=NOW)
        with self.session() as session:
            return disposal.approve(
                session, self.institution_id, recording_id, asked.id, by=self.approver, now=NOW
            )  # fmt: skip

    def turn(self, recording_id: str) -> disposal.Turn:
        with self.session() as session:
            return next(
                one for one in disposal.due(session, NOW + timedelta(days=1)) if one.recording_id == recording_id
            )

    def begin(self, turn: disposal.Turn) -> bool:
        with self.session() as session:
            return disposal.begin(session, turn, NOW)

    def clear(self, turn: disposal.Turn, name: str) -> disposal.Cleared:
        return disposal.clear(self.engine, turn, self.stores[name], self.settings.recordings, NOW)

    def note(self, turn: disposal.Turn, *cleared: disposal.Cleared, now: datetime = NOW) -> bool:
        ledger = read_chain(self.settings.recordings / turn.recording_id / LEDGER_NAME)
        with self.session() as session:
            return disposal.note(session, turn, cleared, ledger, now)

    def request(self, recording_id: str) -> DisposalRequest:
        with self.session() as session:
            query = select(DisposalRequest).where(DisposalRequest.recording_id == recording_id)
            return session.scalars(query.order_by(DisposalRequest.id.desc()).limit(1)).one()

    def row(self, recording_id: str) -> Recording:
        with self.session() as session:
            return session.get_one(Recording, recording_id)

    def media(self, name: str, recording_id: str) -> set[str]:
        return {one.key for one in self.stores[name].list(f"{recording_id}/") if not one.key.endswith(".jsonl")}


def new_id() -> str:
    return ulid(int(BEGAN.timestamp() * 1000), secrets.token_bytes(10))


def lay(
    recordings: Path, recording_id: str, channel_id: int, institution_id: int, *, over: bool = True, slug: str = "bunge"
) -> Path:
    """Files and ledger as media leaves them, of six files of six bytes."""
    folder, at_ms = recordings / recording_id, BEGAN.timestamp() * 1000
    (folder / "source").mkdir(parents=True)
    ledger = Ledger(folder)
    ids = {"channel_id": channel_id, "institution_id": institution_id}
    started = {"recording": recording_id, "broadcast": recording_id, "channel": slug, "origin_ms": int(at_ms)}
    ledger.append(make_fact("started", at_ms, **started, **ids))
    ledger.append(make_fact("rendition", at_ms, name="source", kind="video", codecs="avc1.64001f"))
    for number, name in enumerate(("init-0.mp4", *(f"{msn}.m4s" for msn in range(5)))):
        data = secrets.token_bytes(6)
        (folder / "source" / name).write_bytes(data)
        span = {} if number == 0 else {"msn": number - 1, "from_ms": number * 2000 - 2000, "to_ms": number * 2000}
        told = {"rendition": "source", "name": f"source/{name}", "size": 6, **span}
        ledger.append(make_fact("file", at_ms, **told, sha256=hashlib.sha256(data).hexdigest()))
    if over:
        ledger.append(make_fact("ended", at_ms + 10_000, duration_ms=10_000, size_bytes=36, reason="test"))
    return folder


def scene(engine: Engine, place: Path) -> Scene:
    settings = Settings(data=place)
    for folder in (settings.recordings, settings.signing_keys, place / "arusha", *_public(settings)):
        folder.mkdir(parents=True, exist_ok=True)
    with transaction(engine) as session:
        made = []
        for slug in ("bunge", "ikulu"):
            names = {"name_sw": slug, "name_en": slug, "institution": slug}
            add_channel(session, slug, **names, pepper=PEPPER, now=BEGAN)
            channel = find_channel(session, slug)
            assert channel is not None
            made.append(channel)
        people = {}
        for name, role in (("asha", Role.ARCHIVIST), ("juma", Role.ADMIN), ("neema", Role.ADMIN)):
            account = invited(session, f"{name}@bunge.go.tz", Grant(role, made[0].institution_id)).account
            people[name] = Actor(account.id, name)
        policy.set_rule(session, made[0].institution_id, None, 1, by=people["juma"], now=BEGAN)
    stores: dict[str, Store] = {
        "local": FolderStore("local", settings.recordings), "arusha": FolderStore("arusha", place / "arusha")
    }  # fmt: skip
    return Scene(
        engine, settings, stores, made[0].institution_id, made[0].id, made[1].institution_id, people["asha"],
        people["juma"], people["neema"],
    )  # fmt: skip


def _public(settings: Settings) -> tuple[Path, Path]:
    return settings.public / "closed", settings.public / "gone"
