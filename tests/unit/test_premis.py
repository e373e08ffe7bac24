"""PREMIS 3 of a recording: valid by the Library of Congress's own schema, true to the ledger, and small in memory."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from archive.recordings.about import from_files
from archive.recordings.ledger import CUSTODY_NAME, LEDGER_NAME, Ledger, hash_of, line_of, make_fact
from archive.recordings.premis import EVENT_TYPES, PREMIS, write_premis
from archive.recordings.verify import Line, listed_files, read_chain
from tests.unit.recording_kit import ID, ORIGIN_MS, make_recording
from tests.unit.test_verify import chained_anew

SCHEMA = etree.XMLSchema(etree.parse("tests/vectors/premis/premis-v3-0.xsd"))
NAMES = {"p": PREMIS}


def premis(folder: Path, target: Path) -> etree._ElementTree:
    with target.open("wb") as file:
        write_premis(folder, file, from_files(folder), "0.1.0")
    return etree.parse(target)


def texts(found: etree._ElementTree | etree._Element, path: str) -> list[str]:
    return [str(one.text) for one in found.iterfind(path, NAMES)]


def test_premis_is_valid_and_says_what_the_ledger_says(tmp_path: Path) -> None:
    folder = make_recording(tmp_path)
    found = premis(folder, tmp_path / "premis.xml")
    SCHEMA.assertValid(found)
    fixity = {}
    for one in found.iterfind("p:object", NAMES):
        name, digest = texts(one, "p:originalName")[0], texts(one, ".//p:messageDigest")
        if digest:
            fixity[name] = (digest[0], int(texts(one, ".//p:size")[0]))
    listed = listed_files(read_chain(folder / "ledger.jsonl"))
    assert {name: (line["sha256"], line["size"]) for name, line in listed.items()} == {
        name: told for name, told in fixity.items() if not name.endswith(".jsonl")
    }
    assert texts(found, ".//p:formatRegistryKey") == ["fmt/199"] * 3, "only whole files of MP4 have a PRONOM name"
    assert texts(found, ".//p:eventType") == [
        "capture", "capture", "message digest calculation", "digital signature generation", "ingestion",
        "metadata modification", "fixity check",
    ]  # fmt: skip
    for kind in found.iterfind(".//p:eventType", NAMES):
        assert (
            kind.get("valueURI") == f"http://id.loc.gov/vocabulary/preservation/eventType/{EVENT_TYPES[str(kind.text)]}"
        )
    assert texts(found, ".//p:eventOutcome")[-1] == "failure"
    assert texts(found, ".//p:eventDetail")[-1] == "files: 20; location: b"
    agents = {texts(one, "p:agentName")[0]: texts(one, "p:agentType")[0] for one in found.iterfind("p:agent", NAMES)}
    assert agents == {
        "Mbashara": "software", "Bunge": "organization", "Asha Mushi <asha@bunge.go.tz>": "person",
    }  # fmt: skip
    ids = set(texts(found, ".//p:objectIdentifierValue"))
    assert ids.issuperset(texts(found, ".//p:relatedObjectIdentifierValue")) and ID in ids


def test_what_the_disk_gave_back_is_not_told_as_written(tmp_path: Path) -> None:
    folder = make_recording(tmp_path)
    found = premis(folder, tmp_path / "premis.xml")
    assert "SHA-256 of every file as it was written" in texts(found, ".//p:eventDetail")

    def change(facts: list[Line]) -> None:
        for fact, how in zip([one for one in facts if one["fact"] == "file"], ("read_back", "recovered"), strict=False):
            fact[how] = True

    chained_anew(folder, change)
    told = texts(premis(folder, tmp_path / "premis.xml"), ".//p:eventDetail")
    assert "SHA-256 of every file as it was written; 2 of them as the disk gave them back" in told


@pytest.mark.parametrize(
    ("facts", "restrictions"),
    [
        (["hold placed"], ["hold since 2026-11-28T08:00:00.000+00:00: kesi 12/2026"]),
        (["hold placed", "hold lifted"], []),
        (["embargo", "hold placed", "hold lifted"], ["embargo since 2026-11-28T08:00:00.000+00:00: kesi 12/2026"]),
    ],
)
def test_what_stands_now_restricts(facts: list[str], restrictions: list[str], tmp_path: Path) -> None:
    folder = make_recording(tmp_path)
    custody = Ledger(folder, CUSTODY_NAME)
    for fact in facts:
        custody.append(make_fact(fact, ORIGIN_MS, agent="Juma", detail="kesi 12/2026"))
    found = premis(folder, tmp_path / "premis.xml")
    SCHEMA.assertValid(found)
    assert texts(found, ".//p:restriction") == restrictions


def test_a_wait_for_an_encoder_that_never_came_back_is_no_warning(tmp_path: Path) -> None:
    found = premis(make_recording(tmp_path, lost=(2, 5)), tmp_path / "premis.xml")
    SCHEMA.assertValid(found)
    captured = [one for one in found.iterfind("p:event", NAMES) if texts(one, "p:eventType") == ["capture"]]
    assert [(texts(one, ".//p:eventDetail")[0], texts(one, ".//p:eventOutcome")[0]) for one in captured[:2]] == [
        ("all renditions: 8000 ms - 12000 ms", "warning"), ("20000 ms - 24000 ms", "success"),
    ]  # fmt: skip


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    folder = make_recording(tmp_path)
    Ledger(folder, CUSTODY_NAME).append(make_fact("odd \0 <b>&", ORIGIN_MS, agent="\x1b[31m", detail="]]>\ufffe"))
    SCHEMA.assertValid(premis(folder, tmp_path / "premis.xml"))


def test_the_schema_finds_a_fault(tmp_path: Path) -> None:
    found = premis(make_recording(tmp_path), tmp_path / "premis.xml")
    fault: Callable[[etree._Element], object] = found.getroot().remove
    fault(next(found.iterfind("p:object", NAMES)))
    for one in list(found.iterfind("p:object", NAMES)):
        fault(one)
    assert not SCHEMA.validate(found)


def test_a_day_of_files_takes_little_memory(tmp_path: Path) -> None:
    folder = make_recording(tmp_path)
    with (folder / LEDGER_NAME).open("ab") as file:
        head = Ledger(folder).head
        for number in range(15_000):
            known = {"rendition": "source", "name": f"source/{number}.m4s", "from_ms": number, "to_ms": number + 1}
            line = line_of(make_fact("file", ORIGIN_MS, **known, size=1, sha256="0" * 64), head)
            head = hash_of(line)
            file.write(line)
    program = (
        "import resource, sys; from pathlib import Path; from archive.recordings.about import from_files\n"
        "from archive.recordings.premis import write_premis\n"
        "folder = Path(sys.argv[1]); about = from_files(folder)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "write_premis(folder, open('/dev/null', 'wb'), about, '1')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 60_000, "kilobytes"
