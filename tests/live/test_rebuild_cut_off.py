"""`mbashara rebuild --from` of a broadcast that was cut off: nobody ended it, and its copy holds what had come."""

import hashlib
from argparse import Namespace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from archive.recordings import closures, copies, policy, rows, signing_keys
from archive.recordings.copies import Copied
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.verify import LEDGER_NAME, NEWEST_NAME
from core.audit import Actor
from core.database import transaction
from core.tables import Recording
from mbashara import DATA_VERSION, copying
from mbashara.cli import rebuild as command
from mbashara.notary import Notary
from mbashara.places import Places
from tests.live.policy_kit import NOW, Scene, lay, new_id
from tests.live.resolve_kit import record, resolve_scene
from tests.live.staff_kit import database
from tests.up import Up

ASHA, UNTIL = Actor(None, "Asha"), NOW + timedelta(days=30)


def cut_off(here: Scene) -> str:
    """On the air, signed and copied; the newest segment was told of, and its copy was under way."""
    it = new_id()
    folder = lay(here.settings.recordings, it, here.channel_id, here.institution_id, over=False)
    with here.session() as session:
        rows.apply(session, it, (folder / LEDGER_NAME).read_bytes())
        policy.place_hold(session, here.institution_id, it, "kesi 12", by=ASHA, now=NOW)
        policy.place_embargo(session, here.institution_id, it, "si bado", UNTIL, by=ASHA, now=NOW)
    Notary(here.settings, here.engine).sign_due()
    with here.session() as session:
        copies.want(session, list(here.stores), NOW)
        turns = copies.due(session, list(here.stores), NOW + timedelta(hours=1), 20)
    for turn in turns:
        copies.copy_files(here.stores[turn.location], here.settings.recordings, turn)
    (here.settings.data / "arusha" / it / "source/4.m4s").unlink()
    return it


def go_on(here: Scene, it: str) -> None:
    """Two segments more, both copied; the first is signed. Its papers are put whole some minutes later."""
    folder, store = here.settings.recordings / it, here.stores["arusha"]
    copier = copying.Copier(here.settings, here.engine, Places(here.settings, here.stores))
    for msn in (5, 6):
        (folder / f"source/{msn}.m4s").write_bytes(data := b"media" + bytes([msn]))
        sha256 = hashlib.sha256(data).hexdigest()
        told = {"name": f"source/{msn}.m4s", "size": 6, "sha256": sha256, "msn": msn}
        span = {"rendition": "source", "from_ms": msn * 2000, "to_ms": msn * 2000 + 2000}
        Ledger(folder).append(make_fact("file", NOW.timestamp() * 1000, **told, **span))
        store.put_file(f"{it}/source/{msn}.m4s", folder / f"source/{msn}.m4s", sha256)
        if msn == 5:
            with here.session() as session:
                begin = session.get_one(Recording, it).ledger_bytes
                rows.apply(session, it, (folder / LEDGER_NAME).read_bytes()[begin:])
                session.execute(update(Recording).values(signed_at=None))
            Notary(here.settings, here.engine).sign_due()
        end = (folder / LEDGER_NAME).stat().st_size
        copier.follow(store, it, Copied(end, 1, 6, 6, 0, False))
    assert (here.settings.data / "arusha" / it / NEWEST_NAME).exists()


def test_it_comes_back_and_what_lacks_is_told(
    mbashara_up: Up, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with resolve_scene(mbashara_up, tmp_path / "there") as here, database(mbashara_up, "cut_off_test") as again:
        closed, it = record(here), cut_off(here)
        go_on(here, it)
        url = again.url.render_as_string(hide_password=False)
        settings = here.settings.model_copy(update={"database_url": url, "data": tmp_path / "new"})
        settings.recordings.mkdir(parents=True)
        for folder in closures.FOLDERS.values():
            (settings.public / folder).mkdir(parents=True)
        (settings.data / "VERSION").write_text(f"{DATA_VERSION}\n")
        place = here.settings.data / "arusha"
        settings.locations.write_text(f'[[location]]\nname = "arusha"\nkind = "folder"\npath = "{place}"\n')
        trusted = dict.fromkeys(signing_keys.public_halves(here.settings.signing_keys))
        assert command._rebuild(settings, Namespace(location="arusha"), trusted) == 0
        assert "2 of 2 recordings put back; 0 were there already" in capsys.readouterr().out
        with transaction(again) as session:
            recording = session.get_one(Recording, it)
            assert (recording.state, recording.ended_at, recording.signed_bytes) == (
                "recording", None, recording.ledger_bytes,
            )  # fmt: skip
            assert [(one.started_ms, one.ended_ms, one.cause) for one in rows.gaps(session, it)] == [
                (8000, 10_000, rows.MISSING)
            ]
            assert set(session.scalars(select(Recording.id))) == {closed, it}
            embargo = policy.embargo_of(session, it)
            assert embargo is not None and (embargo.reason, embargo.until) == ("si bado", UNTIL), "as its papers say"
            assert [one.reason for one in policy.standing_holds(session, it)] == ["kesi 12"]
        assert (settings.recordings / it / "source/5.m4s").exists(), "what was signed seconds before comes back too"
        assert not {path.name for path in (settings.recordings / it).rglob("*")} & {"6.m4s", NEWEST_NAME}
        assert command._rebuild(settings, Namespace(location=None), trusted) == 0
        assert "0 of 2 recordings put back; 2 were there already" in capsys.readouterr().out
        (place / it / "source/3.m4s").write_bytes(b"broken")
        (settings.recordings / it).rename(tmp_path / "away")
        assert command._rebuild(settings, Namespace(location="arusha"), trusted) == 1
        assert "holds is damaged" in capsys.readouterr().out
