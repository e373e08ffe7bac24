"""Every act that the program writes into the audit log has words for whoever reads it there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.broadcasts import lifecycle, rights
from core.web.actors import actor
from core.web.i18n import Language
from core.web.staff.acts import WORDS

ROOT = Path(__file__).parents[2]
ROOMS = ("archive", "core", "ingest", "mbashara")
WRITERS = ("append", "_audit", "_log", "_note", "_set_password")


def test_every_act_has_words() -> None:
    written = {name for room in ROOMS for path in (ROOT / room).rglob("*.py") for name in acts(path)}
    led = {rights.audited(step) for step in lifecycle.Act if step is not lifecycle.Act.CLOSE}
    assert len(written) > 40
    assert (written | led) - WORDS.keys() == set()


def acts(path: Path) -> Iterator[str]:
    """What looks like an act among what is told to those who write to the log."""
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and str(getattr(call.func, "attr", getattr(call.func, "id", ""))) in WRITERS:
            for one in (inner for told in call.args for inner in ast.walk(told)):
                if isinstance(one, ast.Constant) and re.fullmatch(r"[a-z_]+\.[a-z]+(_[a-z]+)*", str(one.value)):
                    yield str(one.value)


@pytest.mark.parametrize(
    ("name", "sw", "en"),
    [
        ("command line", "mstari wa amri", "command line"),
        ("command line (juma)", "mstari wa amri (juma)", "command line (juma)"),
        ("command line tools", "command line tools", "command line tools"),
        ("Asha Juma", "Asha Juma", "Asha Juma"),
    ],
)
def test_an_act_by_command_is_told_in_words(name: str, sw: str, en: str) -> None:
    assert (actor(name, Language.SW), actor(name, Language.EN)) == (sw, en)
