"""What the edge may not hand out, brought up to rows that come in meanwhile."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Select
from sqlalchemy.orm import Session

from archive.recordings import closures
from archive.recordings.closures import Closure
from tests.unit.recording_kit import ID


class Comes:
    """A database into which a recording comes, with its embargo, behind the first statement that is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_there = False
        monkeypatch.setattr(closures, "_closed", lambda session, which: dict(self._rows()))

    def _rows(self) -> dict[str, Closure]:
        found = {ID: Closure(HTTPStatus.FORBIDDEN, None)} if self.is_there else {}
        self.is_there = True
        return found

    def scalars(self, query: Select[Any]) -> "Comes":
        self.ids = list(self._rows())
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def all(self) -> list[str]:
        return self.ids


@pytest.mark.parametrize("is_first", [True, False])
def test_an_import_whose_rows_come_in_meanwhile_is_never_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    for folder in closures.FOLDERS.values():
        (tmp_path / folder).mkdir()
    closures.shut(tmp_path, ID, None)
    closures.show_all(cast(Session, Comes(monkeypatch)), tmp_path, None if is_first else {})
    assert closures.is_shut(tmp_path, ID)
