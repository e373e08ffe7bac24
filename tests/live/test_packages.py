"""A real recording handed over by the commands: a bag, PREMIS, a completeness statement; and taken in again."""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import bagit
import pytest
from lxml import etree

from archive.recordings import bag, closures, verify
from archive.recordings.about import from_files
from archive.recordings.bag_import import import_bag
from archive.recordings.locations.config import LOCAL
from tests.live import import_kit, media_files
from tests.unit import recording_kit
from tests.up import Up, command, get, until

FAR_ID, MORE_ID = "01jdx0000000000000000000zz", "01jdx0000000000000000000zy"
SCHEMA = etree.XMLSchema(etree.parse("tests/vectors/premis/premis-v3-0.xsd"))


@pytest.fixture(scope="module")
def recording(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five seconds of a real encoder's, ended and signed."""
    key = mbashara_up.channel_add("packages").primary_key
    short = media_files.make_flv(tmp_path_factory.mktemp("feed") / "short.flv", 5)
    assert media_files.publish(short, f"{mbashara_up.rtmp_url}/{key}").wait(60) == 0

    def mine() -> list[str]:
        return [one for one, state in mbashara_up.recording_states("packages").items() if state == "complete"]

    until(lambda: bool(mine()), "no recording")
    found = mine()[0]
    folder = mbashara_up.data / "recordings" / found
    until(lambda: verify.verify(folder).is_whole, "not signed to its end")
    return found


def run(up: Up, *words: object) -> "subprocess.CompletedProcess[str]":
    return command(up.data, "recording", *map(str, words))


def test_a_recording_goes_out_in_bags_and_comes_in(mbashara_up: Up, recording: str, tmp_path: Path) -> None:
    folder, tar = tmp_path / "bag", tmp_path / "bag.tar"
    for target, more in ((folder, ["--sha512"]), (tar, [])):
        told = run(mbashara_up, "export", recording, "--bag", "-o", target, *more)
        assert told.returncode == 0, told.stderr
    bagit.Bag(str(folder)).validate()
    subprocess.run(["tar", "xf", tar, "-C", tmp_path], check=True)
    unpacked = tmp_path / f"mbashara-{recording}"
    bagit.Bag(str(unpacked)).validate()
    SCHEMA.assertValid(etree.parse(unpacked / "metadata" / "premis.xml"))
    keys = unpacked / "metadata" / "keys.json"
    script = unpacked / "metadata" / "verify.py"
    alone = (sys.executable, "-I", script, unpacked / "data", "--keys", keys, "--lang", "en")
    said = subprocess.run(alone, capture_output=True, text=True)
    assert (said.returncode, "WHOLE AND UNALTERED" in said.stdout) == (0, True), said.stdout
    (tmp_path / "recordings").mkdir()
    found = import_bag(tar, tmp_path / "recordings", verify.read_keys(keys))
    assert found.recording_id == recording
    assert verify.verify(tmp_path / "recordings" / recording, verify.read_keys(keys)).is_whole
    told = run(mbashara_up, "import", "--bag", folder)
    assert (told.returncode, "tayari ipo / already here" in told.stdout) == (0, True), told.stderr
    (folder / "fetch.txt").write_text("")
    told = run(mbashara_up, "import", "--bag", folder)
    assert told.returncode == 2 and "fetch.txt" in told.stderr and len(told.stderr.splitlines()) == 1
    custody = mbashara_up.data / "recordings" / recording / "custody.jsonl"
    until(lambda: custody.exists() and custody.read_text().count('"information package creation"') == 2, "not noted")
    told = run(mbashara_up, "export", recording, "--bag", "-o", tar)
    assert told.returncode == 2 and "Chagua jina lingine" in told.stderr


def far_bag(
    place: Path, it: str, done: Mapping[str, Mapping[str, object]] = {}, signed_ms: int = 90_000
) -> tuple[Path, Path]:
    """A package of another platform's, with its keys; `done`: what was done with the recording there."""
    tar = place / f"{it}.tar"
    names = {"id": 7001, "slug": "mbali", "name_sw": "Taasisi ya Mbali", "name_en": "Far Away"}
    began = {"created_at": "2026-11-28T08:00:00+00:00", "started_at": "2026-11-28T08:00:00+00:00"}
    broadcast = {"id": it, "air_id": it, "state": "archived", "title_sw": "Kikao", "title_en": "", **began}
    told = {"institution": names, "channel": {**names, "slug": "mbali-1"}, "broadcast": broadcast, "log": []}
    told |= {"recording_state": "complete", "outcome": "success"}
    folder = recording_kit.make_recording(place / "there", recording=it, described=told, done=done, is_signed=False)
    recording_kit.sign(folder, signed_ms)
    with tar.open("wb") as file:
        bag.write_tar(folder, file, from_files(folder), {}, datetime(2026, 11, 28, 22, tzinfo=UTC))
    public = {"public_key": base64.b64encode(recording_kit.PUBLIC_KEY).decode(), "institution": "mbali"}
    return tar, write(place / "keys.json", {"keys": [public]})


def test_a_bag_of_another_platform_needs_an_owner_here(mbashara_up: Up, tmp_path: Path) -> None:
    """And one more that the same key signed: it is in use there still."""
    copied: dict[str, object] = {"location": "pili", "files": 20, "size_bytes": 20_000}
    one, keys = far_bag(tmp_path, FAR_ID, {"replication": copied})
    more, _ = far_bag(tmp_path, MORE_ID, {"replication": copied}, 95_000)
    take = ("import", "--bag", one, "--keys", keys)
    unknown = run(mbashara_up, *take[:3])
    assert unknown.returncode == 2 and unknown.stderr.count("--keys keys.json") == 2, "nor does it say that it is wrong"
    refused = run(mbashara_up, *take)
    assert refused.returncode == 2 and refused.stderr.count("mbali/mbali-1") == 2 and "ambayo haipo" in refused.stderr
    assert not (mbashara_up.data / "recordings" / FAR_ID).exists()
    mbashara_up.channel_add("packages-far", "ikulu")
    assert run(mbashara_up, *take, "--institution", "ikulu").returncode == 2
    assert run(mbashara_up, *take, "--institution", "bunge", "--channel", "packages-far").returncode == 2
    taken = run(mbashara_up, *take, "--institution", "ikulu", "--channel", "packages-far")
    assert taken.returncode == 0, taken.stderr
    row = next(row for row in mbashara_up.recordings() if row["id"] == FAR_ID)
    assert row["channel"] == "packages-far"
    shown = json.loads(run(mbashara_up, "show", FAR_ID, "--json").stdout)
    assert {copy["location"] for copy in shown["copies"]} <= {LOCAL}, "its log tells of places that are not here"
    again = run(mbashara_up, "import", "--bag", more, "--keys", keys, "--channel", "packages-far")
    assert again.returncode == 0, again.stderr
    custody = mbashara_up.data / "recordings" / FAR_ID / "custody.jsonl"
    until(lambda: '"transfer"' in custody.read_text(), "not noted")
    lines = [json.loads(line) for line in custody.read_text().splitlines()]
    moved, *_, described = lines[[line["fact"] for line in lines].index("transfer") :]
    assert moved["from_institution"]["name_sw"] == "Taasisi ya Mbali" and moved["from_channel"]["slug"] == "mbali-1"
    assert described["institution"]["slug"] == "ikulu", "a rebuild finds it where it is now"
    assert run(mbashara_up, "export", FAR_ID, "--premis", "-o", tmp_path / "far.xml").returncode == 0
    SCHEMA.assertValid(etree.parse(tmp_path / "far.xml"))
    assert "Taasisi ya Mbali" in (tmp_path / "far.xml").read_text()


def test_a_bag_comes_in_under_embargo(mbashara_up: Up, tmp_path: Path) -> None:
    """Its own, or one that is asked for: nothing of it is open for a moment; a command that was killed on the way, and
    is called again, opens nothing."""
    mbashara_up.channel_add("packages-closed", "ikulu")
    owner = ("--institution", "ikulu", "--channel", "packages-closed")
    own: dict[str, dict[str, object]] = {"embargo": {"until": "2099-01-01T07:00:00+00:00", "detail": "bado"}}
    cases: list[tuple[dict[str, dict[str, object]], list[str]]] = [
        (own, []),
        ({}, ["--embargo", "bado", "--until", "2099-01-01T10:00"]),
        ({}, []),
    ]
    for number, (done, more) in enumerate(cases):
        it = f"{FAR_ID[:-1]}{number}"
        tar, keys = far_bag(tmp_path, it, done)
        if not done and not more:  # killed behind its rename
            closures.shut(mbashara_up.data / "public", it, None)
            assert import_bag(tar, mbashara_up.data / "recordings").is_new
        at = mbashara_up.http_url
        urls = f"{at}/en/recordings/{it}", f"{at}/recordings/{it}/source/0.m4s"
        with import_kit.watched(*urls) as statuses:
            taken = run(mbashara_up, "import", "--bag", tar, "--keys", keys, *owner, *more)
            assert taken.returncode == 0, taken.stderr
            assert [get(url)[0] for url in urls] == [403, 403]
        assert 200 not in statuses, statuses
        told = json.loads(run(mbashara_up, "show", it, "--json").stdout)
        assert told["embargo"]["reason"].startswith("bado" if done or more else "it was closed to the public here")
        again = run(mbashara_up, "import", "--bag", tar, "--keys", keys, *owner, "--embargo", "tena")
        assert again.returncode == 2 and f"mbashara recording embargo {it}" in again.stderr
    past = run(mbashara_up, "import", "--bag", tar, "--embargo", "x", "--until", "2020-01-01")
    assert past.returncode == 2 and "lazima uwe wakati ujao" in past.stderr


def test_premis_and_statement_by_command(mbashara_up: Up, recording: str, tmp_path: Path) -> None:
    assert run(mbashara_up, "export", recording, "--premis", "-o", tmp_path / "premis.xml").returncode == 0
    SCHEMA.assertValid(etree.parse(tmp_path / "premis.xml"))
    told = run(mbashara_up, "statement", recording, "--json", "-o", "-")
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    keys = json.loads(command(mbashara_up.data, "key", "list", "--json").stdout)
    assert recording_kit.is_genuine(document, verify.read_keys(write(tmp_path / "keys.json", {"keys": keys})))
    stated = document["statement"]
    for one in (stated["best"], *stated["renditions"]):
        assert one["held_ms"] + one["gap_ms"] == stated["on_air"]["ms"]
    assert stated["on_air"]["is_over"] and stated["best"]["held_ms"] >= 4800
    assert stated["best"]["gap_ms"] < 200, stated["best"]
    assert run(mbashara_up, "statement", recording, "--lang", "en", "-o", tmp_path / "en.pdf").returncode == 0
    assert (tmp_path / "en.pdf").read_bytes().startswith(b"%PDF-")
    told = run(mbashara_up, "statement", "01jdx00000000000000000000z", "-o", tmp_path / "none.pdf")
    assert told.returncode == 2 and "hakuna rekodi" in told.stderr and not (tmp_path / "none.pdf").exists()


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path
