"""Copying, checking, mending and people's orders by a work process that is killed: behind each thing that it does and
that lasts. Whoever comes after it ends where one that was let be would have.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from archive.recordings import checks, copies, policy, rows
from archive.recordings.describe import describe_closed
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.verify import CUSTODY_NAME, LEDGER_NAME, SIGNATURES_NAME
from core.tables import Recording
from tests.live.deaths_kit import calm, deaths
from tests.live.policy_kit import BEGAN, NOW, Scene, lay, new_id
from tests.live.resolve_kit import INDEX, flip, ordered, places, planned, record, resolve_scene
from tests.up import Up


@pytest.fixture(scope="module")
def here(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with resolve_scene(mbashara_up, tmp_path_factory.mktemp("killed")) as one:
        yield one


def ask(here: Scene, it: str, location: str | None = None) -> str:
    calm(here)
    with here.session() as session:
        checks.ask(session, datetime.now(UTC), it, location)
    return it


def to_close(here: Scene) -> str:
    """Just ended, and a file is missing."""
    it = new_id()
    folder = lay(here.settings.recordings, it, here.channel_id, here.institution_id, over=False)
    (folder / "source/index.m3u8").write_text(INDEX + "#EXT-X-ENDLIST\n")
    Ledger(folder).append(
        make_fact("ended", BEGAN.timestamp() * 1000, duration_ms=10_000, size_bytes=36, reason="test")
    )
    (folder / "source/3.m4s").unlink()
    with here.session() as session:
        rows.apply(session, it, (folder / LEDGER_NAME).read_bytes())
        copies.want(session, list(here.stores), NOW)
    calm(here)
    return it


def to_copy(here: Scene) -> str:
    """Just closed; nothing of it is elsewhere yet."""
    it = new_id()
    folder = lay(here.settings.recordings, it, here.channel_id, here.institution_id)
    with here.session() as session:
        rows.apply(session, it, (folder / LEDGER_NAME).read_bytes())
        rows.close(session, it, 10_000, 36, [])
        describe_closed(session, it, NOW)
        copies.want(session, list(here.stores), NOW)
    calm(here)
    return it


def to_mend(here: Scene) -> str:
    """Faults of files at both places, of papers here and of the catalogue; the copy here alone is to be read."""
    it = record(here)
    local, arusha = places(here, it)
    (local / "source/1.m4s").write_bytes(b"broken")
    (local / "source/2.m4s").unlink()
    (arusha / "source/3.m4s").write_bytes(b"cut")
    (arusha / "source/4.m4s").unlink()
    flip(local / LEDGER_NAME, 4)
    flip(local / CUSTODY_NAME, 0)
    with here.session() as session:
        session.execute(update(Recording).where(Recording.id == it).values(ledger_head="f" * 64))
    return ask(here, it, "local")


def to_hold(here: Scene) -> str:
    """The signed papers contradict each other: nothing may be touched."""
    it = record(here)
    for place in places(here, it):
        flip(place / SIGNATURES_NAME, 0)
        (place / "source/1.m4s").write_bytes(b"broken")
    return ask(here, it)


def to_obey(here: Scene) -> str:
    """An order: something to repair, to remove, to give up, and a paper."""
    it = record(here)
    local, arusha = places(here, it)
    for place in (local, arusha):
        (place / "source/3.m4s").write_bytes(b"broken")
    for name in ("stray-1.txt", "stray-2.txt"):
        (arusha / "source" / name).write_text(name)
    (arusha / "source/0.m4s").unlink()
    flip(arusha / LEDGER_NAME, 4)
    number = planned(here, it, "arusha")
    ordered(here, it, number)
    flip(arusha / LEDGER_NAME, 4)  # the copier was there meanwhile
    calm(here)
    return it


def to_keep(here: Scene) -> str:
    """The ledger here is damaged, nobody has noticed, and the papers are to be copied again."""
    it = record(here)
    flip(places(here, it)[0] / LEDGER_NAME, 4)
    with here.session() as session:
        policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)
    calm(here)
    return it


WRONG: dict[Callable[[Scene], str], set[str]] = {
    to_hold: {"line_changed", "unsigned", "changed"}, to_obey: {"changed"}, to_close: {"missing", "unlisted"},
}  # fmt: skip
"""What verification finds at the end (a file that was given up lies there as it did); elsewhere all is well."""
ACTS = [(to_close, 6), (to_copy, 16), (to_mend, 11), (to_hold, 8), (to_obey, 8), (to_keep, 14)]
"""With what it does for it. What it does then is the same everywhere: the custody log is written, signed and copied."""


@pytest.mark.parametrize(("lay", "acts"), ACTS, ids=[lay.__name__ for lay, _ in ACTS])
def test_who_is_killed_behind_anything_that_lasts_ends_as_if_let_be(
    here: Scene, tmp_path: Path, lay: Callable[[Scene], str], acts: int
) -> None:
    clean, died = deaths(here, tmp_path, lambda: lay(here), acts)
    assert {one.partition("! ")[2] for one in clean if ": ! " in one} == WRONG.get(lay, set()), clean
    assert not [one for one in died if one.wrong], "\n".join(f"{one.behind}: {one.wrong}" for one in died if one.wrong)
