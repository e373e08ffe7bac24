"""What was changed in a recording, and what the check says of it: the program's and the script that stands alone."""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from archive.recordings import verify
from archive.recordings.ledger import TAIL_BYTES, Ledger, line_of, make_fact
from archive.recordings.remembered import compare
from archive.recordings.signatures import Heads, sign
from archive.recordings.signing_keys import Signer
from core.tables import Recording
from mbashara.cli import main
from tests.unit.recording_kit import IMPORTED, make_recording
from tests.unit.test_broadcast import START_MS, studio

RECORDING, OTHER = "0" * 26, "1" * 26
NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
SCRIPT = Path(verify.__file__)


def signer() -> Signer:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Signer(verify.key_id(public), base64.b64encode(public).decode(), private)


KEY, STRANGER = signer(), signer()


def heads(folder: Path) -> Heads:
    ledger, custody = (verify.read_chain(folder / name) for name in (verify.LEDGER_NAME, verify.CUSTODY_NAME))
    return Heads(ledger.size, ledger.head, custody.size, custody.head)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed recording of a feed that was lost and came back: signed as it grew and at its end."""
    place = tmp_path_factory.mktemp("made")
    folder = place / "recordings" / RECORDING

    async def scenario() -> None:
        with studio(place) as live:
            at = live.play(live.attach(), 9, 0)
            await live.recorder.written()
            sign(folder, RECORDING, heads(folder), KEY, NOW)
            live.broadcast.detach()
            live.play(None, 3, 0, kinds="")
            live.play(live.attach(), 9, at)
            await live.broadcast.end("test")

    asyncio.run(scenario())
    sign(folder, RECORDING, heads(folder), KEY, NOW)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / RECORDING)


def keys_file(folder: Path, retired_at: str | None) -> Path:
    path = folder.parent / "keys.json"
    path.write_text(json.dumps({"keys": [{"public_key": KEY.public_key, "retired_at": retired_at}]}))
    return path


def kinds(folder: Path, retired_at: str | None = None) -> set[str]:
    """What both say; they must agree."""
    file = keys_file(folder, retired_at)
    found = verify.verify(folder, verify.read_keys(file))
    assert retired_at or verify.verify(folder, {base64.b64decode(KEY.public_key)}) == found, "a set is taken too"
    command = [sys.executable, "-I", str(SCRIPT), str(folder), "--keys", str(file), "--json"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert [one["kind"] for one in json.loads(told.stdout)["findings"]] == [one.kind for one in found.findings]
    assert told.returncode == (0 if found.is_whole else 1)
    for one in found.findings:
        assert one.text("sw") != one.text("en") and "{" not in one.text("sw") + one.text("en")
    return {one.kind for one in found.findings}


def segment(folder: Path, number: int = 1) -> Path:
    return folder / "source" / f"{number}.m4s"


def flip(folder: Path) -> None:
    data = bytearray(segment(folder).read_bytes())
    data[len(data) // 2] ^= 1
    segment(folder).write_bytes(data)


def shorten(folder: Path) -> None:
    segment(folder).write_bytes(segment(folder).read_bytes()[:-10])


def lengthen(folder: Path) -> None:
    with segment(folder).open("ab") as file:
        file.write(b"more")


def swap(folder: Path) -> None:
    first, second = segment(folder, 0).read_bytes(), segment(folder).read_bytes()
    segment(folder, 0).write_bytes(second)
    segment(folder).write_bytes(first)


def add(folder: Path) -> None:
    segment(folder, 99).write_bytes(segment(folder).read_bytes())


def lines(folder: Path, name: str = verify.LEDGER_NAME) -> list[bytes]:
    return (folder / name).read_bytes().splitlines(keepends=True)


def write(folder: Path, told: list[bytes], name: str = verify.LEDGER_NAME) -> None:
    (folder / name).write_bytes(b"".join(told))


def link_folder(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "0.m4s").write_bytes(b"more")
    (folder / "extra").symlink_to(outside)


def link_rendition(folder: Path) -> None:
    """The very files, in a place that is another's."""
    (folder / "source").rename(folder.parent / "outside")
    (folder / "source").symlink_to(folder.parent / "outside")


def link_paper(folder: Path) -> None:
    (folder / verify.LEDGER_NAME).rename(folder.parent / "outside")
    (folder / verify.LEDGER_NAME).symlink_to(folder.parent / "outside")


def edit_index(folder: Path) -> None:
    """The playlist skips a segment."""
    path = folder / "source" / "index.m3u8"
    path.write_text(path.read_text().replace("1.m4s\n", "0.m4s\n"))


def edit_line(folder: Path) -> None:
    told = lines(folder)
    number = next(number for number, line in enumerate(told) if b'"size":' in line)
    told[number] = told[number].replace(b'"size":', b'"size":1')
    write(folder, told)


def drop_line(folder: Path) -> None:
    told = lines(folder)
    del told[4]
    write(folder, told)


def chained_anew(folder: Path, change: Callable[[list[verify.Line]], object]) -> None:
    """By someone who knows how ledgers are made, and has no key."""
    facts = [json.loads(line) for line in lines(folder)]
    change(facts)
    (folder / verify.LEDGER_NAME).unlink()
    ledger = Ledger(folder)
    for fact in facts:
        del fact["prev"]
        ledger.append(fact)


def forge(folder: Path) -> None:
    """A segment of another moment, and a ledger that says it belongs there."""
    segment(folder).write_bytes(segment(folder, 2).read_bytes())
    digest = verify.hash_file(segment(folder))

    def change(facts: list[verify.Line]) -> None:
        for fact in facts:
            if fact.get("name") == "source/1.m4s":
                fact.update(size=segment(folder).stat().st_size, sha256=digest)

    chained_anew(folder, change)


def forge_and_sign(folder: Path) -> None:
    forge(folder)
    (folder / verify.SIGNATURES_NAME).unlink()
    sign(folder, RECORDING, heads(folder), STRANGER, NOW)


def drop_segment(folder: Path) -> None:
    segment(folder).unlink()

    def change(facts: list[verify.Line]) -> None:
        facts[:] = [fact for fact in facts if fact.get("name") != "source/1.m4s"]

    chained_anew(folder, change)


def cut_end(folder: Path) -> None:
    """The last minutes never happened: lines, files, and the last signature are gone."""
    told = [json.loads(line) for line in lines(folder, verify.SIGNATURES_NAME)]
    write(folder, lines(folder, verify.SIGNATURES_NAME)[:1], verify.SIGNATURES_NAME)
    whole = (folder / verify.LEDGER_NAME).read_bytes()
    (folder / verify.LEDGER_NAME).write_bytes(whole[: told[0]["ledger_bytes"]])
    kept = verify.listed_files(verify.read_chain(folder / verify.LEDGER_NAME))
    for path in [path for path in folder.rglob("*.m*") if path.relative_to(folder).as_posix() not in kept]:
        path.unlink()


def cut_ledger(folder: Path) -> None:
    write(folder, lines(folder)[:-4])


def append_line(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.append(make_fact("gap", START_MS, from_ms=1, to_ms=2, cause="invented"))


def other_signature(folder: Path) -> None:
    (folder / verify.SIGNATURES_NAME).unlink()
    sign(folder, OTHER, heads(folder), KEY, NOW)


def copied_signature(folder: Path) -> None:
    told = json.loads(lines(folder, verify.SIGNATURES_NAME)[-1])
    del told["prev"]
    write(folder, [line_of({**told, "recording": RECORDING, "at": "2027-01-01T00:00:00+00:00"}, verify.GENESIS)],
          verify.SIGNATURES_NAME)  # fmt: skip


def drop_signature(folder: Path) -> None:
    write(folder, lines(folder, verify.SIGNATURES_NAME)[1:], verify.SIGNATURES_NAME)


def tell_anew(folder: Path) -> None:
    """A forged segment, and a line behind the last signature that says so."""
    segment(folder).write_bytes(b"forged")
    told = {"rendition": "source", "name": "source/1.m4s", "msn": 1, "from_ms": 4000, "to_ms": 8000, "size": 6}
    Ledger(folder).append(make_fact("file", START_MS, **told, sha256=verify.hash_file(segment(folder)), recovered=True))


def tell_anew_and_sign(folder: Path) -> None:
    tell_anew(folder)
    sign(folder, RECORDING, heads(folder), KEY, NOW)


def tell_twice(folder: Path) -> None:
    """In a ledger made anew: the segment was never signed as it was, but nobody was killed either."""
    segment(folder).write_bytes(b"forged")
    digest = verify.hash_file(segment(folder))

    def change(facts: list[verify.Line]) -> None:
        number = next(number for number, fact in enumerate(facts) if fact.get("name") == "source/1.m4s")
        facts.insert(number + 1, {**facts[number], "size": 6, "sha256": digest})

    (folder / verify.SIGNATURES_NAME).unlink()
    chained_anew(folder, change)
    sign(folder, RECORDING, heads(folder), KEY, NOW)


def delete(folder: Path, is_signed: bool = True, **told: str) -> None:
    segment(folder).unlink()
    Ledger(folder, verify.CUSTODY_NAME).append(make_fact("deletion", START_MS, outcome="success", agent="x", **told))
    if is_signed:
        sign(folder, RECORDING, heads(folder), KEY, NOW)


def stamp(of: str | None, token: object = "AAAA") -> Callable[[Path], None]:
    """A line that looks like a time stamp; of the last signature where `of` is None."""

    def change(folder: Path) -> None:
        signed = json.loads(lines(folder, verify.SIGNATURES_NAME)[-1])["signature"]
        Ledger(folder, verify.SIGNATURES_NAME).append({"at": NOW.isoformat(), "of": of or signed, "timestamp": token})

    return change


def write_number(name: str, value: str, **others: int) -> Callable[[Path], None]:
    """Something that is no number of ours, chained as it should be."""

    def change(folder: Path) -> None:
        told = lines(folder)[:-1]
        head = hashlib.sha256(told[-1].rstrip(b"\n")).hexdigest()
        line = line_of(
            {"fact": "file", "name": "source/9.m4s", "size": 1, "sha256": "0" * 64, **others, name: "X"}, head
        )
        write(folder, [*told, line.replace(b'"X"', value.encode())])

    return change


def far_number(folder: Path) -> None:
    """A hole of a million million numbers."""
    told = {"rendition": "other", "size": 1, "sha256": "0" * 64, "from_ms": 0}
    for msn in (0, 10**12):
        Ledger(folder).append(make_fact("file", START_MS, name=f"other/{msn}.m4s", msn=msn, **told))


CASES: list[tuple[Callable[[Path], object], set[str]]] = [
    (lambda folder: None, set()),
    (flip, {"changed"}),
    (shorten, {"shortened"}),
    (lengthen, {"lengthened"}),
    (swap, {"swapped"}),
    (lambda folder: segment(folder).unlink(), {"missing"}),
    (add, {"unlisted"}),
    (link_folder, {"unlisted"}),
    (link_rendition, {"unlisted", "missing"}),
    (link_paper, {"unlisted"}),
    (edit_index, {"changed"}),
    (edit_line, {"line_changed"}),
    (drop_line, {"line_changed"}),
    (forge, {"signed_other"}),
    (forge_and_sign, {"key_unknown"}),
    (drop_segment, {"signed_other", "number_lacking"}),
    (cut_end, {"no_end"}),
    (cut_ledger, {"cut_short", "no_end"}),
    (append_line, {"unsigned_tail", "after_end"}),
    (lambda folder: (folder / verify.LEDGER_NAME).unlink(), {"no_ledger"}),
    (lambda folder: (folder / verify.SIGNATURES_NAME).unlink(), {"unsigned"}),
    (other_signature, {"other_recording"}),
    (copied_signature, {"signature_bad"}),
    (drop_signature, {"line_changed"}),
    (tell_anew, {"unsigned_tail", "shortened", "after_end", "retold"}),
    (tell_anew_and_sign, {"after_end", "retold"}),
    (tell_twice, {"retold"}),
    (delete, {"remains"}),  # one is gone as ordered, the others are not
    (lambda folder: delete(folder, location="arusha"), {"missing"}),
    (lambda folder: delete(folder, is_signed=False), {"unsigned_tail", "missing"}),
    (stamp(None), set()),
    (stamp("AAAA"), {"stamp_strange"}),
    (stamp(None, token="~"), {"stamp_strange"}),
    (stamp(None, token=[7]), {"stamp_strange"}),
    (far_number, {"number_lacking"}),
    (write_number("from_ms", "1e308"), {"unreadable"}),
    (write_number("from_ms", "Infinity"), {"unreadable"}),
    (write_number("msn", "1.5"), {"unreadable"}),
    (write_number("size", "9" * 5000), {"unreadable"}),
    (write_number("to_ms", "9" * 18), {"unreadable"}),
    (write_number("name", "[7]"), {"unreadable"}),
    (write_number("gaps", "[[9,8]]", from_ms=0, to_ms=10), {"unreadable"}),
    (write_number("gaps", "[[1,2,3]]", from_ms=0, to_ms=10), {"unreadable"}),
]


@pytest.mark.parametrize(("tamper", "told"), CASES, ids=[f"{n}-{case[0].__name__}" for n, case in enumerate(CASES)])
def test_each_change_is_told_apart(copy: Path, tamper: Callable[[Path], object], told: set[str]) -> None:
    tamper(copy)
    found = kinds(copy)
    assert found == told or (told and told <= found), found


LISTS = ",".join(["[]"] * 300_000)
STRANGE: dict[str, tuple[str, list[str]]] = {
    "lists in gaps": (verify.LEDGER_NAME, [f',"fact":"gap","x":[{LISTS}]'] * 8),
    "lists in orders": (verify.CUSTODY_NAME, [f',"fact":"deletion","outcome":"success","x":[{LISTS}]'] * 8),
    "lists in stamps": (verify.SIGNATURES_NAME, [f',"timestamp":[{LISTS}]'] * 8),
    "lines of nothing": (verify.LEDGER_NAME, [""] * 99_000),
    "one line": (verify.LEDGER_NAME, [f',"x":[{",".join([LISTS] * 8)}]']),
}
IN_LITTLE = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (80 << 20, 80 << 20))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strangers_paper_takes_little_memory(tmp_path: Path, strange: str) -> None:
    """Of some bytes in a line, 27 times as many come."""
    name, bodies = STRANGE[strange]
    head, size = verify.GENESIS, 0
    (tmp_path / verify.LEDGER_NAME).touch()
    with (tmp_path / name).open("wb") as file:
        for body in bodies:
            line = f'{{"prev":"{head}"{body}}}'.encode()
            head, size = hashlib.sha256(line).hexdigest(), size + file.write(line + b"\n")
    command = [sys.executable, "-I", "-c", IN_LITTLE, str(SCRIPT), str(tmp_path), "--no-media"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert "! " in told.stdout, f"{size} bytes: {told.stderr[-200:]}"


def test_what_custody_tells_of_a_restless_broadcast_is_read(copy: Path) -> None:
    """Its whole log is one line: of an encoder that was lost 6000 times, 2.3 MB."""
    log = [
        {"id": number, "broadcast_id": RECORDING, "institution_id": 1, "at": NOW.isoformat(), "kind": "feed_lost",
         "actor": None, "detail": {"cause": "feed lost", "at_ms": 1000 * number}} for number in range(12_000)
    ]  # fmt: skip
    Ledger(copy, verify.CUSTODY_NAME).append(make_fact("described", START_MS, outcome="success", agent="x", log=log))
    assert (copy / verify.CUSTODY_NAME).stat().st_size > 2 << 20
    sign(copy, RECORDING, heads(copy), KEY, NOW)
    assert kinds(copy) == set()


def test_a_ledger_under_another_recordings_name(copy: Path) -> None:
    assert "other_ledger" in kinds(copy.rename(copy.with_name(OTHER)))


def test_the_database_remembers_what_was_cut_off(copy: Path) -> None:
    """Back to an earlier signature, with all that it signed: the files prove themselves, the row says more."""
    Ledger(copy, verify.CUSTODY_NAME).append(make_fact("ingestion", START_MS, outcome="success", agent="x"))
    sign(copy, RECORDING, heads(copy), KEY, NOW)
    early = {name: (copy / name).read_bytes() for name in (verify.CUSTODY_NAME, verify.SIGNATURES_NAME)}
    Ledger(copy, verify.CUSTODY_NAME).append(make_fact("fixity check", START_MS, outcome="fail", agent="x"))
    sign(copy, RECORDING, heads(copy), KEY, NOW)
    now = heads(copy)
    row = Recording(
        ledger_bytes=now.ledger_bytes, ledger_head=now.ledger_head, custody_bytes=now.custody_bytes,
        custody_head=now.custody_head, signed_bytes=now.ledger_bytes, signed_custody_bytes=now.custody_bytes,
    )  # fmt: skip
    assert [*compare(row, copy)] == []
    for name, data in early.items():
        (copy / name).write_bytes(data)
    assert kinds(copy) == set()
    told = [(one.kind, one.values["name"]) for one in compare(row, copy)]
    assert told == [("database_more", verify.CUSTODY_NAME), ("database_more", verify.SIGNATURES_NAME)]
    row.custody_bytes = row.signed_custody_bytes = heads(copy).custody_bytes
    row.ledger_bytes += 1
    told = [(one.kind, one.values["name"]) for one in compare(row, copy)]
    assert told == [("database_more", verify.LEDGER_NAME), ("database_other", verify.CUSTODY_NAME)]


def test_a_file_that_was_read_back_is_whole_and_told(copy: Path) -> None:
    def change(facts: list[verify.Line]) -> None:
        for fact in facts:
            if fact.get("name") in ("source/1.m4s", "source/2.m4s"):
                fact["read_back"] = True

    (copy / verify.SIGNATURES_NAME).unlink()
    chained_anew(copy, change)
    sign(copy, RECORDING, heads(copy), KEY, NOW)
    assert kinds(copy) == set()
    report = verify.verify(copy)
    english, swahili = "\n".join(verify.summary(report, "en")), "\n".join(verify.summary(report, "sw"))
    assert "2 files were hashed from the disk" in english and "WHOLE AND UNALTERED" in english
    assert "Mafaili 2 yalipigwa muhuri kutoka diski" in swahili and report.recovered == 0
    of_one = report._replace(recovered=1, read_back=1, timestamps=1, signatures=1)
    english, swahili = "\n".join(verify.summary(of_one, "en")), "\n".join(verify.summary(of_one, "sw"))
    assert "1 file was hashed when" in english and "1 file was hashed from" in english and "1 files" not in english
    assert "; 1 signature, 1 time stamp." in english and "muhuri wa wakati 1." in swahili
    assert "Faili 1 lilipigwa muhuri programu" in swahili and "Faili 1 lilipigwa muhuri kutoka" in swahili


def test_times_are_told_in_the_time_of_here_and_noted_as_they_are(copy: Path) -> None:
    segment(copy).unlink()
    report = verify.verify(copy)
    told, swahili = list(verify.summary(report, "en")), list(verify.summary(report, "sw"))
    assert told[0].endswith("EAT).") and "(2026-11-28 12:00:00.000 EAT)" in told[2]
    assert told[3] == "EAT is East Africa Time, three hours ahead of UTC." and "saa tatu mbele ya UTC" in swahili[3]
    data = verify.as_json(report)
    assert data["signed_at"] == "2026-11-28T09:00:00.000+00:00", "for programs nothing has changed"
    assert data["findings"][0]["time"].endswith("+03:00") and "+03:00" in data["findings"][0]["text"]
    hole = {"rendition": "source", "msn": 3, "time": ""}
    assert verify.Finding("number_lacking", {**hole, "last": 3}).told("en").startswith("source: segment 3 is not in")
    assert verify.Finding("number_lacking", {**hole, "last": 4}).told("en").startswith("source: segments 3 to 4 are")


def test_what_a_stranger_wrote_says_nothing_in_our_name(tmp_path: Path) -> None:
    """Neither by lines of its own nor by a moment that is no more where we are, nor by a name that is no text."""
    told = {"rendition": "x\n\x1b[2JWHOLE AND UNALTERED", "size": 1, "sha256": "0" * 64}
    for msn in (0, 2):
        Ledger(tmp_path).append(make_fact("file", START_MS, name=f"x/{msn}.m4s", msn=msn, **told))
    order = {**make_fact("deletion", START_MS, outcome="success"), "at": "9999-12-31T23:59:59-12:00"}
    Ledger(tmp_path, verify.CUSTODY_NAME).append(order)
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))).touch()
    command = [sys.executable, "-I", str(SCRIPT), str(tmp_path), "--lang", "en"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert lines[1].startswith("! x\\u000a\\u001b[2JWHOLE")
    assert any(line.startswith("! The file \\udcff is not in the ledger") for line in lines)
    assert any("DESTROYED BY ORDER on 9999-12-31T23:59:59-12:00" in line for line in lines)
    data = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True).stdout)
    assert {"kind": "unlisted", "file": "\udcff"}.items() <= data["findings"][-1].items()


def test_a_stamp_that_nobody_made_is_no_proof(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script counts it, and says that it did not read it; the program reads it."""
    assert main(["recording", "verify", str(copy), "--lang", "en"]) == 0
    capsys.readouterr()
    stamp(None)(copy)
    report = verify.verify(copy)
    assert report.timestamps == 1 and "not checked here" in "\n".join(verify.summary(report, "en"))
    assert main(["recording", "verify", str(copy), "--lang", "en"]) == 1
    assert "is no time stamp" in capsys.readouterr().out
    (copy / verify.SIGNATURES_NAME).write_bytes(lines(copy, verify.SIGNATURES_NAME)[0] + b"[]\n")
    assert main(["recording", "verify", str(copy), "--json"]) == 1


def test_a_retired_key_signs_no_more(copy: Path) -> None:
    signed_at = NOW + timedelta(hours=1)
    sign(copy, RECORDING, heads(copy), KEY, signed_at)
    east = timezone(timedelta(hours=3))
    assert kinds(copy, signed_at.astimezone(east).isoformat()) == set(), "it was signed in time"
    assert kinds(copy, (signed_at - timedelta(milliseconds=1)).astimezone(east).isoformat()) == {"key_retired"}


def test_a_file_is_found_with_its_moment_and_another_is_not(copy: Path, tmp_path: Path) -> None:
    mine, strange = tmp_path / "mine.m4s", tmp_path / "strange.m4s"
    mine.write_bytes(segment(copy).read_bytes())
    strange.write_bytes(segment(copy).read_bytes()[:-1])
    command = [sys.executable, "-I", str(SCRIPT), str(copy), "--lang", "en"]
    good = subprocess.run([*command, str(mine)], capture_output=True, text=True)
    assert good.returncode == 0 and "= source/1.m4s  2023-11-15 01:13:2" in good.stdout, good.stdout
    bad = subprocess.run([*command, str(strange)], capture_output=True, text=True)
    assert bad.returncode == 1 and "is not in the ledger" in bad.stdout


def test_without_the_custody_log_nobody_says_that_an_export_is_of_another_recording(copy: Path, tmp_path: Path) -> None:
    """Exports stand there alone, and it is not handed out."""
    export = tmp_path / "export.mp4"
    export.write_bytes(b"moov")
    Ledger(copy, verify.CUSTODY_NAME).append(
        {"fact": "export", "name": export.name, "sha256": verify.hash_file(export)}
    )
    command = [sys.executable, "-I", str(SCRIPT), str(copy), str(export), str(SCRIPT), "--lang", "en"]
    known = subprocess.run(command, capture_output=True, text=True)
    assert f"{export} = export.mp4" in known.stdout and "is not of this recording" in known.stdout
    (copy / verify.CUSTODY_NAME).unlink()
    without = subprocess.run(command, capture_output=True, text=True)
    assert without.returncode == 1 and "is not of this recording" not in without.stdout
    assert "An export stands in custody.jsonl alone" in without.stdout


def test_a_recording_made_from_a_file_was_not_on_the_air(tmp_path: Path) -> None:
    folder = make_recording(tmp_path, imported=IMPORTED)
    report = verify.verify(folder)
    told = {language: "\n".join(verify.summary(report, language)) for language in ("en", "sw")}
    made = f"Made from the file bajeti.mp4 (SHA-256 {'ab' * 32}) on 2026-11-28 11:00:00.000 EAT; its times are as"
    assert report.is_whole and made in told["en"] and "Imetengenezwa kutokana na faili bajeti.mp4" in told["sw"]
    assert "on the air" not in told["en"] and "hewani" not in told["sw"]
    assert verify.as_json(report)["made_from"]["sha256"] == "ab" * 32
    assert verify.verify(make_recording(tmp_path / "live")).made_from is None


def test_what_a_stranger_says_of_the_file_it_was_made_from_breaks_nothing(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = [{"original": []}, {"original": {"name": {}, "size": "x"}}, {}]
    for number, strange in enumerate(told):
        report = verify.verify(make_recording(tmp_path / str(number), imported=strange))
        assert "Made from the file" in "\n".join(verify.summary(report, "en"))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_a_package_is_checked_as_it_is(copy: Path, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    (bag / "data").parent.mkdir()
    copy.rename(bag / "data")
    (bag / "bagit.txt").write_text("BagIt-Version: 1.0\n")
    told = run(bag, "--lang", "en")
    assert (told.returncode, "WHOLE AND UNALTERED" in told.stdout) == (0, True), told.stdout
    assert main(["recording", "verify", str(bag), "--lang", "en"]) == 0


def test_a_mistyped_path_is_told_and_its_neighbours_are_not_checked(copy: Path) -> None:
    """What lies beside it is whole: that would be said of what was asked for."""
    for wrong in (copy / "typo", copy / verify.SIGNATURES_NAME):
        told = run(wrong, "--lang", "en")
        assert (told.returncode, told.stdout) == (2, ""), told
        assert told.stderr == f"! {wrong} is no recording: name its folder, or its ledger.jsonl.\n"
    assert "si rekodi" in run(copy / "typo").stderr


def test_what_is_no_list_of_keys_is_told_in_the_readers_language(copy: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for keys in (broken, tmp_path / "none.json"):
        assert run(copy, "--keys", keys).stderr == f"! {keys} si orodha ya funguo (keys.json).\n"
        assert run(copy, "--keys", keys, "--lang", "en").stderr == f"! {keys} is no list of keys (keys.json).\n"


def test_on_the_air_it_is_no_fault_that_there_is_no_end_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor that it grows while it is read."""
    folder = tmp_path / "recordings" / RECORDING

    async def scenario() -> None:
        with studio(tmp_path) as live:
            live.play(live.attach(), 9.3, 0)
            await live.recorder.written()
            sign(folder, RECORDING, heads(folder), KEY, NOW)
            report = verify.verify(folder, on_air=True)
            assert report.on_air and report.is_whole and report.files > 4
            assert {one.kind for one in report.findings} == {"no_end"}
            read: list[Callable[..., verify.Chain]] = [verify.read_chain]

            def read_chain(*asked: Any) -> verify.Chain:
                """It grows, and is signed, behind the first paper that is read."""
                found = read[0](*asked)
                if len(read) == 1:
                    read.append(read_chain)
                    Ledger(folder).append(make_fact("refused", START_MS, cause="in use", role="primary"))
                    sign(folder, RECORDING, heads(folder), KEY, NOW)
                return found

            monkeypatch.setattr(verify, "read_chain", read_chain)
            assert verify.verify(folder, on_air=True).is_whole

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [10, TAIL_BYTES - 7, TAIL_BYTES, 3 * TAIL_BYTES])
def test_a_ledger_goes_on_behind_a_line_of_any_length(tmp_path: Path, size: int) -> None:
    Ledger(tmp_path).append({"fact": "a"})
    Ledger(tmp_path).append({"fact": "x" * size})
    with (tmp_path / verify.LEDGER_NAME).open("ab") as file:
        file.write(b"torn" * size)
    Ledger(tmp_path).append({"fact": "b"})
    chain = verify.read_chain(tmp_path / verify.LEDGER_NAME)
    assert chain.findings == [] and [len(line["fact"]) for line in chain.lines] == [1, size, 1]


def test_the_scripts_own_ed25519_agrees_with_the_library() -> None:
    """And the first vectors of RFC 8032, 7.1."""
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b"
    )
    assert verify.check_ed25519(public, b"", signature)
    assert not verify.check_ed25519(public, b"x", signature)
    for number in range(8):
        text = b"text" * number
        good = base64.b64decode(KEY.sign(text))
        key = base64.b64decode(KEY.public_key)
        assert verify.check_ed25519(key, text, good)
        bad = bytearray(good)
        bad[number * 9 % 64] ^= 4
        assert not verify.check_ed25519(key, text, bytes(bad))
        assert not verify.check_ed25519(base64.b64decode(STRANGER.public_key), text, good)
    high = int.from_bytes(signature[32:], "little") + verify.Q
    assert not verify.check_ed25519(public, b"", signature[:32] + high.to_bytes(32, "little")), "only one encoding"
