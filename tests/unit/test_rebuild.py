"""`mbashara rebuild` among folders that someone made to break it."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from archive.recordings import verify
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.rebuild import times
from mbashara.cli import rebuild
from mbashara.settings import Settings
from tests.unit.recording_kit import ID, ORIGIN_MS, PUBLIC_KEY, make_recording

IDS = [f"01jdx0000000000000000000{number:02}" for number in range(3)]
HOSTILE: list[dict[str, Any]] = [
    {"msn": 9, "from_ms": 1e308},
    {"msn": float("inf"), "from_ms": 0},
    {"msn": "x", "from_ms": []},
]


def test_one_hostile_folder_does_not_keep_the_others_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(data=tmp_path)
    for name, told in zip(IDS, HOSTILE, strict=True):
        folder = settings.recordings / name
        folder.mkdir(parents=True)
        ledger = Ledger(folder)
        ledger.append(make_fact("started", ORIGIN_MS, recording=name, origin_ms=ORIGIN_MS, channel="bunge"))
        known = {"rendition": "s", "to_ms": 1, "size": 1, "sha256": "0" * 64}
        ledger.append(make_fact("file", ORIGIN_MS, name="s/0.m4s", **{**known, "msn": 0, "from_ms": 0}))
        ledger.append(make_fact("file", ORIGIN_MS, name="s/9.m4s", **known, **told))
    assert rebuild._rebuild(settings, Namespace(location=None), {}) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [line[2:28] for line in shown[:-1]] == IDS[::-1] and "0 of 3" in shown[-1]


def test_who_gives_no_keys_is_not_told_that_something_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, there = Settings(data=tmp_path / "new"), tmp_path / "there"
    settings.recordings.mkdir(parents=True)
    make_recording(there)
    settings.locations.write_text(f'[[location]]\nname = "pili"\nkind = "folder"\npath = "{there}"\n')
    assert rebuild._rebuild(settings, Namespace(location="pili"), {}) == 1
    shown = capsys.readouterr().out
    key = verify.key_id(PUBLIC_KEY)
    assert f"it is signed by the key {key}" in shown and "--keys" in shown and "holds is damaged" not in shown
    assert f"! {ID}: imesainiwa kwa ufunguo {key}" in shown
    make_recording(settings.recordings)
    assert rebuild._rebuild(settings, Namespace(location=None), {}) == 1
    assert f"it is signed by the key {key}" in capsys.readouterr().out
    (there / ID / "signatures.jsonl").write_text("{}\n")
    (settings.recordings / ID).rename(tmp_path / "away")
    assert rebuild._rebuild(settings, Namespace(location="pili"), {}) == 1
    assert "holds is damaged" in capsys.readouterr().out


def test_what_was_imported_has_the_clock_of_its_pictures() -> None:
    """Not that of the import: how long it is kept is reckoned from its end."""
    started = {"fact": "started", "at": "2026-11-28T21:16:26+00:00", "origin_ms": 1_556_686_800_000}
    ended = {"fact": "ended", "at": "2026-11-28T21:16:29+00:00", "duration_ms": 8_000}
    imported = times([{**started, "import": {}}, ended])
    assert [one and one.isoformat() for one in imported] == ["2019-05-01T05:00:00+00:00", "2019-05-01T05:00:08+00:00"]
    assert [one and one.isoformat() for one in times([started, ended])] == ["2019-05-01T05:00:00+00:00", ended["at"]]
