"""`mbashara drill` is minutes long where a recording is: each case is told when it is done."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive.recordings import drill
from archive.recordings.drill_cases import CASES
from mbashara.cli import drill as command
from mbashara.settings import Settings


@pytest.mark.parametrize("is_json", [False, True], ids=["words", "json"])
def test_each_case_is_told_when_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_json: bool
) -> None:
    told = list[str]()

    def cases(stage: object, wanted: object) -> Iterator[drill.Told]:
        for name, *_ in CASES[:2]:
            yield drill.Told(name, "", "", (), (), (), 1)
            told.append(capsys.readouterr().out)

    monkeypatch.setattr(command, "_stage", lambda *given: None)
    monkeypatch.setattr(drill, "run", cases)
    monkeypatch.setattr(drill, "read_clean", lambda stage, reads: drill.Reads(7, 1, ()))
    given = Namespace(seed=1, recording=None, reads=7, lang="en", json=is_json)
    assert command.run(Settings(data=tmp_path), given) == 0
    assert [one[:4] for one in told] == (["", ""] if is_json else ["OK  ", "OK  "])
    assert ("2 of 2 faults found" in capsys.readouterr().out) != is_json
