"""What a file holds, and what is made of it: copied where players take it, else encoded; refused in time."""

from dataclasses import replace
from fractions import Fraction

import pytest

from archive.imports.words import TROUBLES
from mbashara.import_file import safe_name
from transcode.files.command import source_command
from transcode.files.facts import (
    FileFacts,
    Making,
    Picture,
    Refused,
    Sound,
    Trouble,
    decide,
    frame_rate,
    longest_segment_ms,
)

PICTURE = Picture(
    index=0, codec="h264", profile="High", pixels="yuv420p", width=1920, height=1080, rate="25", aspect="1", rotation=0,
    interlaced=False, is_decoded=True, longest_frame_ms=40, longest_segment_ms=2000, bitrate_bps=4_000_000,
    is_steady=True,
)  # fmt: skip
SOUND = Sound(1, "aac", "LC", 48_000, 2, True)
FACTS = FileFacts("mov,mp4,m4a,3gp,3g2,mj2", 60_000, 60_000, None, False, PICTURE, SOUND)


def decided(facts: FileFacts, takes_short: bool = False) -> Making | Refused:
    return decide(facts, takes_short=takes_short, longest_ms=3_600_000, target_duration_s=4)


@pytest.mark.parametrize(
    "change",
    [
        {"codec": "hevc"}, {"pixels": "yuv422p10le"}, {"profile": "High 4:2:2"}, {"interlaced": True}, {"rotation": 90},
        {"aspect": "16/11"}, {"longest_frame_ms": 1000}, {"longest_segment_ms": 30_000}, {"bitrate_bps": 50_000_000},
        {"is_steady": False},
    ],
)  # fmt: skip
def test_what_players_do_not_take_is_encoded(change: dict[str, object]) -> None:
    making = decided(replace(FACTS, picture=replace(PICTURE, **change)))  # type: ignore[arg-type]
    assert isinstance(making, Making) and not making.copies_picture and making.copies_sound
    command = source_command("ffmpeg", making)
    assert "libx264" in command and command[command.index("-c:a") + 1] == "copy"
    assert any("yadif" in word for word in command) == bool(change.get("interlaced"))


def test_what_they_take_is_copied_with_segments_as_long_as_its_keyframes() -> None:
    making = decided(replace(FACTS, picture=replace(PICTURE, longest_segment_ms=9600)))
    assert isinstance(making, Making) and making.copies_picture and making.target_duration_s == 10
    command = source_command("ffmpeg", making)
    assert command[command.index("-protocol_whitelist") + 1] == "fd" and "libx264" not in command
    loud = decided(replace(FACTS, sound=replace(SOUND, channels=6)))
    assert isinstance(loud, Making) and not loud.copies_sound and loud.channels == 2


@pytest.mark.parametrize(
    ("facts", "trouble"),
    [
        (replace(FACTS, encrypted=True), Trouble.ENCRYPTED),
        (replace(FACTS, picture=None, sound=None), Trouble.NO_TRACKS),
        (replace(FACTS, told_ms=3_600_001), Trouble.TOO_LONG),
        (replace(FACTS, read_ms=30_000), Trouble.TRUNCATED),
        (replace(FACTS, picture=replace(PICTURE, is_decoded=False)), Trouble.BROKEN),
    ],
)
def test_what_is_refused(facts: FileFacts, trouble: Trouble) -> None:
    refused = decided(facts)
    assert isinstance(refused, Refused) and refused.trouble is trouble
    assert isinstance(decided(facts, takes_short=True), Making) == (trouble is Trouble.TRUNCATED)


def test_facts_cross_from_process_to_process_as_they_are() -> None:
    assert FileFacts.from_json(FACTS.as_json()) == FACTS
    assert FileFacts.from_json(replace(FACTS, picture=None).as_json()).picture is None


def test_segments_are_as_long_as_the_packager_cuts_them() -> None:
    assert longest_segment_ms([0, 1000, 2000, 3000, 12_000], 13_000) == 10_000, "not at each of many keyframes"
    assert longest_segment_ms([], 5000) == 5000


@pytest.mark.parametrize(
    ("text", "rate"),
    [("25", 25), ("30000/1001", Fraction(30000, 1001)), ("120", 60), ("1", 25), ("0", 25), ("90000", 25)],
)  # fmt: skip
def test_frame_rates(text: str, rate: Fraction) -> None:
    assert frame_rate(text) == rate


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Kikao cha kwanza.MP4", "file.mp4"), ("../../etc/passwd", "file"), ("index.m3u8", "file"), ("1.M4S", "file"),
        ("init-0.mp4", "file.mp4"), (".htaccess", "file.htaccess"), ("", "file"), ("a.…", "file"), ("a.b/c", "file"),
    ],
)  # fmt: skip
def test_names_of_originals_are_harmless(name: str, kept: str) -> None:
    assert safe_name(name) == kept


def test_every_trouble_has_its_words() -> None:
    assert set(TROUBLES) == {*Trouble, "unreadable"}
