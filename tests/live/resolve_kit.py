"""Recordings with copies in two places, for tests: checked, planned for, put in order."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from archive.recordings import checks, resolve, rows, signing_keys
from archive.recordings.checks import Due
from archive.recordings.describe import describe_closed
from archive.recordings.inventory import check_files
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.locations.errors import Unreachable
from archive.recordings.locations.folder import FolderStore
from archive.recordings.resolve import Turn
from archive.recordings.tables import PreservationEvent, RecordingCopy
from archive.recordings.verify import LEDGER_NAME, listed_files, read_chain
from mbashara.fixity import Fixity
from mbashara.resolving import Resolver
from tests.live.policy_kit import BEGAN, NOW, Scene, lay, new_id, scene
from tests.live.staff_kit import database
from tests.up import Up

INDEX = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"init-0.mp4\"\n" + "".join(
    f"#EXTINF:2,\n{msn}.m4s\n" for msn in range(5)
)  # fmt: skip


def record(here: Scene, missing: tuple[str, ...] = ()) -> str:
    """With an index, copied everywhere; `missing` here when it was closed."""
    it = new_id()
    folder = lay(here.settings.recordings, it, here.channel_id, here.institution_id, over=False)
    (folder / "source/index.m3u8").write_text(INDEX + "#EXT-X-ENDLIST\n")
    data, ledger, at_ms = (folder / "source/index.m3u8").read_bytes(), Ledger(folder), BEGAN.timestamp() * 1000
    named = {"rendition": "source", "name": "source/index.m3u8", "size": len(data)}
    ledger.append(make_fact("file", at_ms, **named, sha256=hashlib.sha256(data).hexdigest()))
    ledger.append(make_fact("ended", at_ms + 10_000, duration_ms=10_000, size_bytes=36, reason="test"))
    for name in listed_files(read_chain(folder / LEDGER_NAME)):
        here.stores["arusha"].put_bytes(f"{it}/{name}", (folder / name).read_bytes())
    for name in missing:
        (folder / name).unlink()
    checked = check_files(folder)
    with here.session() as session:
        rows.apply(session, it, (folder / LEDGER_NAME).read_bytes())
        rows.close(session, it, checked.duration_ms, checked.size_bytes, checked.missing)
        describe_closed(session, it, NOW)
    here.settle()
    return it


def fixity(here: Scene) -> Fixity:
    return Fixity(here.settings, here.engine, here.stores, {})


def check(here: Scene, it: str) -> dict[str, tuple[str, str | None]]:
    """One check of all copies as the work process does it: by location, state and fault."""
    checker, due, asked = fixity(here), Due(it, sorted(here.stores), 0), datetime.now(UTC)
    first, is_well = checker.examine(due)
    found = first if is_well else checker.mend(due, first)
    with here.session() as session:
        checks.note(session, due, found, asked, {}, datetime.now(UTC), here.settings.recordings)
    here.settle()
    with here.session() as session:
        copies = session.scalars(select(RecordingCopy).where(RecordingCopy.recording_id == it))
        return {one.location: (one.state, one.fault) for one in copies}


def figures(here: Scene, it: str, location: str) -> tuple[int, int]:
    with here.session() as session:
        copy = session.get_one(RecordingCopy, (it, location))
        return copy.files, copy.size_bytes


def planned(here: Scene, it: str, location: str) -> int:
    """The number of the plan that the work process makes."""
    with here.session() as session:
        number = resolve.ask(session, here.institution_id, it, location, by=here.asker, now=NOW).id
    turn = turn_of(here, number)
    plan = Resolver(fixity(here)).plan(turn)
    with here.session() as session:
        resolve.note_plan(session, turn, plan)
    return number


def turn_of(here: Scene, number: int) -> Turn:
    with here.session() as session:
        return next(one for one in resolve.due(session, datetime.now(UTC)) if one.resolution_id == number)


def ordered(here: Scene, it: str, number: int) -> Turn:
    with here.session() as session:
        resolve.order(session, here.institution_id, it, number, "imekaguliwa", by=here.asker, now=NOW)
    here.settle()
    return turn_of(here, number)


def carried(here: Scene, turn: Turn) -> None:
    came = Resolver(fixity(here)).carry_out(turn)
    assert came is not None
    with here.session() as session:
        for _ in range(2):  # noted again, it changes nothing
            resolve.note_carried(session, turn, came, here.settings.recordings, NOW)
    here.settle()


def plan_of(here: Scene, it: str, location: str) -> dict[str, list[str]]:
    with here.session() as session:
        one = resolve.newest(session, it, location)
        assert one is not None and one.plan is not None
        return {name: [e["file"] for e in one.plan[name]] for name in ("repaired", "removed", "lost", "left")}


def events(here: Scene, it: str) -> list[dict[str, object]]:
    with here.session() as session:
        query = select(PreservationEvent.line).where(PreservationEvent.recording_id == it)
        return [json.loads(line) for line in session.scalars(query.order_by(PreservationEvent.id))]


def told_gaps(here: Scene, it: str) -> tuple[str, list[tuple[int, int]]]:
    with here.session() as session:
        spans = [(one.started_ms, one.ended_ms) for one in rows.gaps(session, it) if one.cause == rows.MISSING]
    return here.row(it).state, spans


class Leaving(FolderStore):
    """Away as soon as its ledger was read so many times."""

    reads = 1

    def open(self, key: str) -> Iterator[bytes]:
        self.reads -= key.endswith(LEDGER_NAME)
        if self.reads < 0:
            raise Unreachable(self.name, "unplugged")
        return super().open(key)


def places(here: Scene, it: str) -> tuple[Path, Path]:
    """Where a recording lies: here, and at `arusha`."""
    return here.settings.recordings / it, Path(here.settings.data) / "arusha" / it


def flip(path: Path, line: int) -> None:
    """One bit, in the middle of a line."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line][:40] + bytes([lines[line][40] ^ 1]) + lines[line][41:]
    path.write_bytes(b"".join(lines))


def keys_of(here: Scene) -> set[bytes]:
    with here.session() as session:
        return set(signing_keys.public_keys(session, here.institution_id))


@contextmanager
def resolve_scene(up: Up, folder: Path) -> Iterator[Scene]:
    """In a database of its own, which another process finds too."""
    with database(up, "resolve_test", pool_size=8) as engine:
        one = scene(engine, folder)
        url = engine.url.render_as_string(hide_password=False)
        one.settings = one.settings.model_copy(update={"database_url": url})
        yield one
