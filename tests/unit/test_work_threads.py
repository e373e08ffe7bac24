"""Moments between two lines of the work process at which something else happens."""

import json
import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import literal
from sqlalchemy.orm import Session

from archive.recordings import custody, rows
from archive.recordings.custody import CustodyError
from archive.recordings.ledger import GENESIS
from core.database import DatabaseAway, open_engine
from core.tables import Recording
from mbashara import bell
from mbashara.bell import Bell
from mbashara.dry_run import DryRuns
from mbashara.settings import Settings
from mbashara.work import Follower

ID = "01jdx00000000000000000000a"


def test_what_media_writes_while_a_ledger_is_read_is_not_read_before_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine("postgresql://nobody@/none?host=/nonexistent")
    ledger, synced = tmp_path / ID / "ledger.jsonl", []
    ledger.parent.mkdir()
    ledger.write_bytes(b"one\n")

    def sync(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        with ledger.open("ab") as media:
            media.write(b"two\n")

    monkeypatch.setattr(os, "fdatasync", sync)
    read = Follower(tmp_path, engine, print)._read(ID, 0)
    assert [len(read)] == synced


def test_a_ledger_that_the_disk_does_not_give_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes out of a round but DatabaseAway ends the process, again after each restart."""
    (tmp_path / ID / "ledger.jsonl").mkdir(parents=True)
    (tmp_path / f"{ID[:-1]}b").touch()
    monkeypatch.setattr(rows, "applied", lambda *_: rows.Place(0, GENESIS))
    follower = Follower(tmp_path, open_engine("postgresql://nobody@/none?host=/nonexistent"), print)
    for applied in ({}, {ID: rows.Place(0, GENESIS)}):
        follower._applied = applied
        with pytest.raises(DatabaseAway):  # of the question that comes last in a round
            follower.follow_once()
    assert not follower._broken, "it is tried again"


def test_a_question_that_has_no_answer_makes_everyone_late_and_no_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "ALL_S", 0.2)
    monkeypatch.setattr(bell, "POLL_S", 0.1)
    stopping, ours = threading.Event(), Bell(open_engine("postgresql://nobody@/none?host=/nonexistent"))
    rung = ours.on(lambda: literal(True))
    ours.start(stopping)
    try:
        for _ in range(2):
            assert rung.wait(60)
            rung.clear()
    finally:
        stopping.set()


@pytest.mark.parametrize("damaged", [{}, {"custody_bytes": 8, "key": "abc", "custody_head": "0"}])
def test_a_damaged_signature_is_a_reason_not_to_sign_and_none_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: dict[str, object]
) -> None:
    (tmp_path / "custody.jsonl").write_bytes(b'{"a":1}\n')
    (tmp_path / "signatures.jsonl").write_text(json.dumps({"signature": "abc", **damaged}) + "\n")
    monkeypatch.setattr(custody, "lines", lambda *_: [])
    recording = Recording(id=ID, institution_id=1, custody_bytes=0, custody_head=GENESIS)
    with pytest.raises(CustodyError, match="signature is damaged"):
        custody.write_file(Session(), tmp_path, recording, set())


def test_dry_runs_end_with_a_program_that_ends_while_they_begin_a_round(tmp_path: Path) -> None:
    settings, stopping = Settings(data=tmp_path), threading.Event()
    settings.pepper_file.parent.mkdir(parents=True)
    settings.pepper_file.write_bytes(b"p" * 32)
    engine = open_engine("postgresql://nobody@/none?host=/nonexistent")

    class Rung(threading.Event):
        def clear(self) -> None:
            if not stopping.is_set():
                stopping.set()
                self.set()  # as the bell does then, once
            super().clear()

    runs = DryRuns(settings, engine, Bell(engine))
    runs._rung = Rung()
    thread = threading.Thread(target=runs.run, args=(stopping,), daemon=True)
    thread.start()
    thread.join(60)
    still_there = thread.is_alive()
    runs._rung.set()
    assert not still_there
