"""`mbashara rebuild` among folders that someone made to break it."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from archive.recordings import verify
from archive.recordings.ledger import Ledger, make_fact
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
    assert rebuild._rebuild(settings, Namespace(location=None), set()) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [line[2:28] for line in shown[:-1]] == IDS[::-1] and "0 of 3" in shown[-1]


def test_who_gives_no_keys_is_not_told_that_something_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, there = Settings(data=tmp_path / "new"), tmp_path / "there"
    settings.recordings.mkdir(parents=True)
    make_recording(there)
    settings.locations.write_text(f'[[location]]\nname = "pili"\nkind = "folder"\npath = "{there}"\n')
    assert rebuild._rebuild(settings, Namespace(location="pili"), set()) == 1
    shown = capsys.readouterr().out
    key = verify.key_id(PUBLIC_KEY)
    assert f"it is signed by the key {key}" in shown and "--keys" in shown and "holds is damaged" not in shown
    assert f"! {ID}: imesainiwa kwa ufunguo {key}" in shown
    make_recording(settings.recordings)
    assert rebuild._rebuild(settings, Namespace(location=None), set()) == 1
    assert f"it is signed by the key {key}" in capsys.readouterr().out
    (there / ID / "signatures.jsonl").write_text("{}\n")
    (settings.recordings / ID).rename(tmp_path / "away")
    assert rebuild._rebuild(settings, Namespace(location="pili"), set()) == 1
    assert "holds is damaged" in capsys.readouterr().out
