"""Every act, subject and value that the program writes into the audit log has words for whoever reads it there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.broadcasts import lifecycle, rights
from core.broadcasts.queries import Outline
from core.institutions import InstitutionFacts
from core.staff.links import Purpose
from core.web.actors import actor
from core.web.i18n import Language
from core.web.staff.acts import WORDS
from core.web.staff.audit_words import FIELDS, SUBJECTS, act_of
from mbashara.api.channels import ChannelMade

ROOT = Path(__file__).parents[2]
ROOMS = ("archive", "core", "ingest", "mbashara")
WRITERS = ("append", "_audit", "_log", "_note", "_set_password")


def test_every_act_has_words() -> None:
    written = {name for room in ROOMS for path in (ROOT / room).rglob("*.py") for name in acts(path)}
    led = {rights.audited(step) for step in lifecycle.Act if step is not lifecycle.Act.CLOSE}
    links = {f"{purpose}.use" for purpose in Purpose}
    assert len(written) > 40
    assert (written | led | links) - WORDS.keys() == set()


def test_every_subject_and_value_has_words() -> None:
    found = [
        one for room in ROOMS for path in (ROOT / room).rglob("*.py") for one in values(ast.parse(path.read_text()))
    ]
    subjects = {name.partition(":")[0] for name in found if ":" in name}
    shown = {*InstitutionFacts.__slots__, *Outline.__slots__, *ChannelMade.model_fields}
    assert len(subjects) > 8 and len(found) > 60
    assert subjects - SUBJECTS.keys() == set()
    assert ({name for name in found if ":" not in name} | shown) - FIELDS.keys() == set()


def values(tree: ast.Module) -> Iterator[str]:
    """Names of values, and subjects (with a colon), in what is told to those who write to the log, there or by a name
    of the same function."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        told = [one for call in ast.walk(function) if is_writing(call) for one in ast.iter_child_nodes(call)]
        names = {one.id for root in told for one in ast.walk(root) if isinstance(one, ast.Name)}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                told += [node.value for target in targets if isinstance(target, ast.Name) and target.id in names]
        for one in (inner for root in told for inner in ast.walk(root)):
            if isinstance(one, ast.Dict):
                yield from (str(key.value) for key in one.keys if isinstance(key, ast.Constant))
            elif isinstance(one, ast.JoinedStr) and isinstance(one.values[0], ast.Constant):
                yield from re.findall(r"^[a-z_]+:$", str(one.values[0].value))


def is_writing(node: ast.AST) -> bool:
    """To the audit log: `append` of others, lists and the custody log, is not meant."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr == "append" and getattr(node.func.value, "id", "") == "audit"
    return isinstance(node.func, ast.Name) and node.func.id in ("log", *WRITERS)


def acts(path: Path) -> Iterator[str]:
    """What looks like an act among what is told to those who write to the log."""
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and str(getattr(call.func, "attr", getattr(call.func, "id", ""))) in WRITERS:
            for one in (inner for told in call.args for inner in ast.walk(told)):
                if isinstance(one, ast.Constant) and re.fullmatch(r"[a-z_]+\.[a-z]+(_[a-z]+)*", str(one.value)):
                    yield str(one.value)


def test_older_entries_of_a_program_s_acts_on_keys_read_well() -> None:
    """All of them were called a rotation once."""
    told: dict[str, dict[str, object]] = {
        "key.rotate": {"role": "backup"},
        "key.revoke": {"role": "backup", "revoked": True},
    }
    told["key.limit"] = {"role": "backup", "addresses": []}
    assert [act_of("key.rotate", after) for after in told.values()] == [*told]
    assert (act_of("key.rotate", None), act_of("key.make", {"role": "backup"})) == ("key.rotate", "key.make")


@pytest.mark.parametrize(
    ("name", "sw", "en"),
    [
        ("command line", "mstari wa amri", "command line"),
        ("command line (juma)", "mstari wa amri (juma)", "command line (juma)"),
        ("command line tools", "command line tools", "command line tools"),
        ("Asha Juma", "Asha Juma", "Asha Juma"),
        ("token:bunge", "programu bunge", "program bunge"),
    ],
)
def test_an_act_by_command_is_told_in_words(name: str, sw: str, en: str) -> None:
    assert (actor(name, Language.SW), actor(name, Language.EN)) == (sw, en)
