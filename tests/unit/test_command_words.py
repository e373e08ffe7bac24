"""What commands say exists in Swahili and English, and is told in the language of whoever reads it."""

import ast
import os
import pickle
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po

from archive.recordings import custody
from archive.recordings.retention import Effect
from core.plain import PlainError, beside
from core.web.i18n import Language
from mbashara.cli import main, policy, show, terms
from mbashara.plain import LOCALE, DataError, UserError
from mbashara.words import languages

ROOT = Path(__file__).parents[2]
COMMANDS = [*(ROOT / "mbashara/cli").glob("*.py"), *(ROOT / "mbashara").glob("*.py")]
ROOMS = {
    LOCALE: COMMANDS,
    ROOT / "core/locale": [*(ROOT / "core").glob("*.py")],
    ROOT / "archive/locale": [*(ROOT / "archive").rglob("*.py")],
}
TOLD = re.compile(r"[^\W\d_]{2}")


@pytest.mark.parametrize("locale", [LOCALE, ROOT / "core/locale"], ids=["mbashara", "core"])
def test_every_word_of_commands_is_in_swahili(locale: Path) -> None:
    """The archive's words are its own to keep whole (test_site.py)."""
    said = {text for path in ROOMS[locale] for text in _said(path)}
    known = _catalogue(locale)
    others = _catalogue(ROOT / "archive/locale") if locale == LOCALE else {}
    assert said - known.keys() - others.keys() == set()
    if locale == LOCALE:
        assert known.keys() - said == set(), "nobody says this any more"
    for english, swahili in known.items():
        assert _fields(english) == _fields(swahili), english
        assert others.get(english, swahili) == swahili, "not said differently"


@pytest.mark.parametrize("locale", ROOMS, ids=["mbashara", "core", "archive"])
def test_no_fault_is_said_past_the_catalogue(locale: Path) -> None:
    """An f-string, bare words, or what another error says of itself would stay English."""
    bare = [
        f"{path.name}:{call.lineno}"
        for path in ROOMS[locale]
        for call in _calls(path, "|".join(_faults(PlainError)))
        if call.args and not _is_translated(call.args[0])
    ]
    assert bare == []


def test_nothing_is_printed_past_the_catalogue() -> None:
    commands = (ROOT / "mbashara/cli").glob("*.py")
    assert [f"{path.name}: {text}" for path in commands for text in _printed(path) if TOLD.search(text)] == []


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "sw en"), ({"LANG": "C.UTF-8"}, "sw en"), ({"LANG": "fr_FR.UTF-8"}, "sw en"),
        ({"LANG": "sw_TZ.UTF-8"}, "sw"), ({"LANG": "sw"}, "sw"), ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "sw_KE"}, "sw"), ({"LC_ALL": "C", "LC_MESSAGES": "sw_KE"}, "sw en"),
        ({"LC_ALL": "sw_TZ", "MBASHARA_LANGUAGE": "en"}, "en"), ({"LANG": "en", "MBASHARA_LANGUAGE": ""}, "en"),
        ({"LANG": "swabian"}, "sw en"),
    ],
)  # fmt: skip
def test_the_reader_s_language(environment: dict[str, str], told: str) -> None:
    assert " ".join(languages(environment)) == told


@pytest.mark.parametrize(
    ("line", "sw", "en"),
    [
        (["channel", "add"], "hoja hizi zinahitajika: SLUG, --name-sw, --name-en",
         "the following arguments are required: SLUG, --name-sw, --name-en"),
        (["channel", "list", "--all"], "hoja hizi hazijulikani: --all", "unrecognized arguments: --all"),
        (["recording", "verify"], "hoja hizi zinahitajika: ID|FOLDER",
         "the following arguments are required: ID|FOLDER"),
        (["up", "--http", "here"], "mpangilio http: 'here' si HOST:PORT", "setting http: 'here' is not HOST:PORT"),
        (["up", "--media-workers", "0"], "mpangilio media_workers: iwe 1 au zaidi",
         "setting media_workers: Input should be greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_refusal_is_in_the_language_of_the_reader(
    line: list[str], sw: str, en: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("MBASHARA_DATA", str(tmp_path / "data"))
    for language, told in (("sw", sw), ("en", en), ("", f"{sw} / {en}")):
        monkeypatch.setenv("MBASHARA_LANGUAGE", language)
        monkeypatch.setenv("LC_ALL", "C")
        assert _run(line) == 2
        assert capsys.readouterr().err.splitlines()[-1].partition(": ")[2] == told
    assert not (tmp_path / "data").exists(), "a refusal changes nothing"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("location check --all", "location check"), ("recording recording list", "recording"),
        ("recording list x", "recording list"),
    ],
)  # fmt: skip
def test_a_refusal_shows_the_use_of_the_command_that_was_meant(
    line: str, named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "en")
    assert _run(line.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"usage: mbashara {named} [-h]") and f"\nmbashara {named}: " in told


def test_a_wrong_place_of_copies_is_told_in_the_language_of_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = tmp_path / "locations.toml"
    places.write_text('[[location]]\nname = "pili"\nkind = "folder"\npath = "pili"\n')
    for language, told in (("sw", "andika njia kuanzia /"), ("en", "a path from / on")):
        monkeypatch.setenv("MBASHARA_LANGUAGE", language)
        assert main(["location", "list", "--data", str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"mbashara: {places}: location pili: path: {told}\n"


def test_help_is_in_the_language_of_the_reader(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "sw")
    assert _run(["channel", "-h"]) == 0
    shown = capsys.readouterr().out
    assert "matumizi: mbashara channel" in shown and "orodhesha chaneli" in shown and "onyesha msaada huu" in shown
    assert "usage" not in shown and "list the channels" not in shown and "options" not in shown


def test_a_recording_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "sw")
    copy = {
        "location": "pili",
        "state": "held",
        "checked_at": None,
        "fault": "",
        "next_try_at": None,
        "is_named": False,
    }
    tries = {"state": "copying", "fault": "hakuna njia", "next_try_at": "2026-11-28T20:55:49+00:00", "is_named": True}
    event = {
        "at": "2026-11-28T20:55:49.4+00:00",
        "kind": "policy assignment",
        "act": "disposal approved",
        "outcome": "success",
        "agent": "command line (juma)",
    }
    gap = {"from_ms": 1, "to_ms": 61_002, "cause": "feed lost", "rendition": None}
    rules: dict[str, object] = {
        "kept_until": "2036-11-28T20:55:49+00:00",
        "holds": [{"id": 7, "reason": "Mahakama Kuu"}],
        "embargo": {"until": None, "reason": "siri"},
    }
    told = {"id": "x", "state": "complete", "is_signed_whole": True, "renditions": ["source"], "disposed_at": None}
    told |= rules
    copies = [copy, {**copy, **tries}]
    lines = [*show.lines({**told, "gaps": [gap], "waited": None, "copies": copies, "events": [event]})]
    assert [" ".join(line.split()) for line in lines] == [
        "Namba x", "Hali imefungwa", "Imesainiwa hadi mwisho ndiyo", "Matoleo source",
        "Pengo 0:00.001 - 1:01.002: mlisho kutoka kwenye kisimbaji (encoder) ulipotea",
        "Inatunzwa hadi 2036-11-28 23:55:49 EAT", "Zuio la kisheria 7: Mahakama Kuu",
        "Kizuizi cha muda hadi kiondolewe: siri",
        "Nakala pili: imesimamishwa hadi mtu aikague, bado haijasomwa ! hapamo tena katika locations.toml: "
        "hakuna anayeisoma",
        "Nakala pili: inanakiliwa, bado haijasomwa ! hakuna njia ! itajaribiwa tena 2026-11-28 23:55:49 EAT",
        "Tukio 2026-11-28 23:55:49 EAT uteketezaji uliidhinishwa: sawa mstari wa amri (juma)",
    ]  # fmt: skip


def test_a_recording_that_was_destroyed_is_not_told_as_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "sw")
    copy = {"location": "pili", "state": "disposed", "checked_at": None, "next_try_at": None}
    told = {"state": "complete", "disposed_at": "2026-11-28T20:55:49.4+00:00", "renditions": [], "gaps": []}
    rules: dict[str, object] = {"kept_until": None, "holds": [], "embargo": None}
    lines = [
        " ".join(line.split())
        for line in show.lines(
            {**told, **rules, "waited": None, "copies": [{**copy, "fault": "", "is_named": True}], "events": []}
        )
    ]
    assert lines == ["Hali iliteketezwa", "Matoleo", "Nakala pili: iliteketezwa, bado haijasomwa"]
    listed = show.as_it_is({"id": "x", "state": "complete", "disposed_at": told["disposed_at"]})
    assert [" ".join(line.split()) for line in terms.table([listed])] == ["Namba Hali", "x iliteketezwa"]


def test_a_rule_tells_of_the_recordings_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "en")
    would = Effect(shortened=3, due=1)
    assert policy._of_those_before(would, False) == (
        "recordings to which more was promised keep that: 3; --shorten takes it"
    )
    assert policy._of_those_before(would, True) == (
        "recordings to which more was promised: 3, of which 1 may be destroyed from now on"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"rule": "retention", "until": None}, "retention rule assigned"),
        ({}, "retention rule assigned"),
        ({"rule": "disposal", "act": "asked"}, "disposal asked for"),
        ({"rule": "disposal", "act": "approved"}, "disposal approved"),
        ({"rule": "disposal", "act": "refused"}, "disposal refused"),
        ({"rule": "disposal", "act": "withdrawn"}, "request for disposal withdrawn"),
        ({"rule": "resolve", "act": "ordered"}, "mending of a copy ordered"),
        ({"rule": "place", "act": "forgotten"}, "copy given up: its place was forgotten"),
    ],
)
def test_what_people_ordered_is_called_what_it_is(
    line: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "en")
    deed = custody.deed("policy assignment", line)
    assert terms.event(deed) == told
    assert f'"{deed}": _("{told}")' in (ROOT / "archive/templates/pages/words.html").read_text()
    assert custody.deed("deletion", line) == "deletion"
    assert terms.event(custody.deed("deletion", {"location": "pili"})) == "one place's copy destroyed"


def test_a_list_has_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "sw")
    one: dict[str, object] = {
        "channel": "bunge", "state": "complete", "started_at": "2026-11-28T20:55:49.4+00:00", "ended_at": None,
        "duration_ms": 66_452, "size_bytes": 2_874_385, "gaps": [{}], "path": "/recordings/x",
    }  # fmt: skip
    assert [" ".join(line.split()) for line in terms.table([one])] == [
        "Chaneli Hali Ilianza Iliisha Urefu Ukubwa Mapengo",
        "bunge imefungwa 2026-11-28 23:55:49 EAT - 1:06 2.87 MB 1",
    ]
    assert terms.table([]) == []
    narrow = [" ".join(line.split()) for line in terms.listed([one, one], 60)]
    assert narrow[:3] == ["Chaneli bunge", "Hali imefungwa", "Ilianza 2026-11-28 23:55:49 EAT"], "no line is broken"
    assert narrow[7:9] == ["", "Chaneli bunge"] and terms.listed([one], 200) == terms.table([one])


def test_a_reader_that_has_enough_is_no_fault(tmp_path: Path) -> None:
    """As `head` is; a disk that takes no more is told in one line."""
    line = [sys.executable, "-m", "mbashara", "location", "list", "--data", str(tmp_path)]
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as closed, Path("/dev/full").open("w") as full:
        ended = subprocess.run(line, stdout=closed, stderr=subprocess.PIPE, text=True)
        failed = subprocess.run(
            line, stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "MBASHARA_LANGUAGE": "sw"}
        )
    assert (ended.returncode, ended.stderr) == (141, "")
    assert (failed.returncode, failed.stderr) == (2, "mbashara: haiwezi kuandikwa: diski imejaa\n")


def test_a_workflow_keeps_how_it_was_told() -> None:
    wrong = OSError(2, "No such file or directory")
    error = pickle.loads(pickle.dumps(UserError(lambda language: f"{language} {{x}}")))
    assert isinstance(error, UserError) and str(error) == "en {x} / sw {x}"
    error = pickle.loads(pickle.dumps(DataError("cannot use the data folder: {why}: {path}", why=wrong, path="{}")))
    assert error.text(Language.SW) == str(error)
    assert str(error).endswith(" / folda ya data haiwezi kutumika: hakuna faili wala folda hiyo: {}")


def test_what_both_begin_with_is_told_once() -> None:
    assert beside(["a: b: moja", "a: b: one"]) == "a: b: moja / one"
    assert beside(["a: moja: x", "a: one: x"]) == "a: moja: x / one: x"
    assert beside(["sawa", "sawa"]) == "sawa"
    assert beside(["moja"]) == "moja"


def _catalogue(locale: Path) -> dict[str, str]:
    with (locale / "sw.po").open("rb") as file:
        found = read_po(file, locale="sw")
    return {str(one.id): str(one.string) for one in found if one.id and one.string and not one.fuzzy}


def _run(line: list[str]) -> int:
    try:
        return main(line)
    except SystemExit as ended:
        return int(ended.code or 0)


def _faults(root: type[PlainError]) -> Iterator[str]:
    for one in root.__subclasses__():
        yield one.__name__
        yield from _faults(one)


def _is_translated(message: ast.expr) -> bool:
    """N_(...), or what says itself in a language."""
    if isinstance(message, ast.Call):
        return getattr(message.func, "id", "") in ("N_", "partial")
    return isinstance(message, ast.Lambda | ast.Name | ast.Attribute)


def _calls(path: Path, name: "re.Pattern[str] | str") -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and re.fullmatch(
            name, str(getattr(node.func, "attr", getattr(node.func, "id", "")))
        ):
            yield node


def _said(path: Path) -> Iterator[str]:
    """What goes through the catalogue: N_("..."), say("...") and, of commands, help="..."."""
    for call in _calls(path, "N_|say"):
        if isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)
    for call in _calls(path, "add_argument|add_parser"):
        for keyword in call.keywords:
            if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                yield str(keyword.value.value)


def _printed(path: Path) -> Iterator[str]:
    """Words in what is printed, but for the program's name and those within a call, which says them itself."""
    for call in _calls(path, "print"):
        for one in call.args:
            for text in _words(one):
                yield text.replace("mbashara", "")


def _words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr | ast.IfExp | ast.BinOp | ast.BoolOp | ast.FormattedValue):
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.FormattedValue) and isinstance(child, ast.JoinedStr)):  # a width
                yield from _words(child)


def _fields(text: str) -> set[str]:
    braces = {name.partition("!")[0] for _, name, _, _ in string.Formatter().parse(text) if name}
    return braces | set(re.findall(r"%(?:\(\w+\))?[sr]", text))
