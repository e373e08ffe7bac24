"""Sound levels of feeds: what a real encoder sends is measured to the decibel, garbage is nothing."""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core.media import flv
from core.media.levels import FLOOR_DBFS, Level
from core.media.packet import AudioTrack, Packet
from core.web.i18n import Language
from ingest.console import Answer, Still, Told
from ingest.console.cards import Cards, Facts, FeedFacts
from ingest.console.levels import OLD_S, Heard, Sound, level_numbers, sound_of
from ingest.console.queries import OnWall
from ingest.feed import MAX_SOUND_BYTES, SOUND_PACKETS, Feed
from mbashara.levels import Levels, LevelsRead
from mbashara.settings import Settings
from tests.unit.encoded_kit import FFMPEG, children_cpu_s
from tests.unit.site_kit import make_site
from transcode.levels.measure import measure
from transcode.levels.sound import sound_file

LOUD, QUIET = "aevalsrc=0.5*sin(880*PI*t)", "0.125*sin(880*PI*t)"
AUDIO = [{"kind": "audio"}]


@cache
def encoded(source: str, options: str = "-ar 48000") -> tuple[AudioTrack, tuple[Packet, ...]]:
    """Two seconds of AAC, as FLV brings them."""
    line = f"-v error -f lavfi -t 2 -i {source} {options} -c:a aac -b:a 128k -f flv -"
    made = subprocess.run([FFMPEG, *line.split()], capture_output=True, check=True, timeout=300)
    items = list(flv.TagReader().feed(made.stdout))
    track = next(item for item in items if isinstance(item, AudioTrack))
    return track, tuple(item for item in items if isinstance(item, Packet))


@pytest.mark.parametrize(
    ("source", "options", "levels"),
    [  # a sine of half the scale: its peak is -6 dBFS, its RMS 3 dB less
        (LOUD, "-ar 48000", [(-6.0, -9.0)]),
        (f"{LOUD}|{QUIET}", "-ar 44100", [(-6.0, -9.0), (-18.0, -21.0)]),
        (f"{LOUD}|{QUIET}", "-ar 16000", [(-6.0, -9.0), (-18.0, -21.0)]),
        ("anullsrc=channel_layout=stereo", "-ar 48000", [(FLOOR_DBFS, FLOOR_DBFS)] * 2),
        ("aevalsrc=0|0|0.5*sin(880*PI*t)|0|0|0:c=5.1", "-ar 48000", [(-9.0, -12.0)] * 2),  # one speaker, heard on two
    ],
)
def test_a_tone_is_measured_to_the_decibel(source: str, options: str, levels: list[tuple[float, float]]) -> None:
    measured = measure(FFMPEG, sound_file(*encoded(source, options)))
    assert measured is not None and len(measured) == len(levels)
    for one, (peak_dbfs, rms_dbfs) in zip(measured, levels, strict=True):
        assert one.peak_dbfs == pytest.approx(peak_dbfs, abs=1)
        assert one.rms_dbfs == pytest.approx(rms_dbfs, abs=1)


def test_only_the_last_second_is_measured() -> None:
    track, before = encoded(LOUD)
    last = encoded("anullsrc=channel_layout=mono")[1][-50:]
    assert measure(FFMPEG, sound_file(track, before + last)) == (Level(FLOOR_DBFS, FLOOR_DBFS),)


def test_garbage_is_no_sound_and_takes_no_time() -> None:
    track, packets = encoded(LOUD)
    before_s = children_cpu_s()
    for payload in (b"", bytes(range(256)) * 4, b"\xff" * 700):
        found = measure(FFMPEG, sound_file(track, [packet._replace(payload=payload) for packet in packets]))
        assert found is None or len(found) <= 2
    torn = [packet._replace(payload=bytes(packet.payload)[: 9 + at % 90]) for at, packet in enumerate(packets)]
    measure(FFMPEG, sound_file(track, torn))
    assert measure(FFMPEG, sound_file(track, packets[:1])) is None, "no sound is left of so little"
    assert measure(FFMPEG, b"no FLV at all") is None
    assert measure("/bin/false", sound_file(track, packets)) is None
    assert children_cpu_s() - before_s < 10


def test_a_feed_keeps_a_second_of_its_sound_and_no_more() -> None:
    feed = Feed("f1", "primary", lambda *_: None)
    feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x00\x11\x90"))
    for at in range(3 * SOUND_PACKETS):
        feed.on_message(flv.AUDIO, at * 21, bytearray(b"\xaf\x01" + bytes(340)))
    feed.on_message(flv.AUDIO, 9999, bytearray(b"\xaf\x01" + bytes(MAX_SOUND_BYTES + 1)))
    assert [one.dts_ms for one in feed.newest_sound] == [at * 21 for at in range(2 * SOUND_PACKETS, 3 * SOUND_PACKETS)]
    feed.on_message(flv.AUDIO, 10_000, bytearray(b"\xaf\x00\x12\x10"))
    assert not feed.newest_sound, "it can't be decoded by another configuration"


@dataclass
class Media:
    """A media process with feeds: `sounds` by role is what each gives, its ETag; None stands for what it gave last."""

    sounds: dict[str, str]
    asked: list[str] = field(default_factory=list)

    def feeds_told(self) -> tuple[list[Told], bool]:
        return [{"channel": "ikulu", "role": role, "feed": role, "tracks": AUDIO} for role in self.sounds], True

    def ask(self, slug: str, method: str, target: str, body: bytes) -> Answer:
        role = next(role for role in self.sounds if f"role={role}" in target)
        tag = self.sounds[role]
        return Answer(304 if f"known={tag}" in target else 200, {"etag": tag}, tag.encode())


def test_levels_are_kept_while_their_feed_is_there(tmp_path: Path) -> None:
    settings, media = Settings(data=tmp_path, run_dir=tmp_path), Media({"primary": "a1", "backup": "torn"})
    settings.stills.mkdir()
    made: list[bytes] = []

    def measured(sound: bytes) -> Sequence[Level] | None:
        made.append(sound)
        return None if sound == b"torn" else (Level(-6.0, -9.0),)

    levels, read = Levels(settings, media, measured), LevelsRead(settings).read  # type: ignore[arg-type]
    assert read() == {}
    for _ in range(2):
        levels.round(threading.Event())
    assert made == [b"a1", b"torn"], "the same sound is measured once"
    kept = read()
    assert list(kept) == ["primary"] and kept["primary"]["sides"] == [{"peak_dbfs": -6.0, "rms_dbfs": -9.0}]
    del media.sounds["primary"]
    levels.round(threading.Event())
    assert read() == {}, "of another feed in its place nothing is known"


def test_while_nobody_looks_sound_is_measured_once_a_minute(tmp_path: Path) -> None:
    settings, media, made = Settings(data=tmp_path, run_dir=tmp_path), Media({"primary": "a1"}), list[bytes]()
    settings.stills.mkdir()
    levels = Levels(settings, media, lambda sound: made.append(sound))  # type: ignore[arg-type]
    for tag in ("a1", "a2", "a3"):
        media.sounds["primary"] = tag
        levels.round(threading.Event())
    assert made == [b"a1"]
    LevelsRead(settings).read()
    levels.round(threading.Event())
    assert made == [b"a1", b"a3"]
    os.utime(settings.levels_looked_file, (time.time() - 60,) * 2)
    media.sounds["primary"] = "a4"
    levels.round(threading.Event())
    assert made == [b"a1", b"a3"]


def told(peak_dbfs: float = -12.5, at_s: float = 100.0, **more: Any) -> Told:
    level = {"peak_dbfs": peak_dbfs, "rms_dbfs": max(FLOOR_DBFS, peak_dbfs - 6)}
    return {"tracks": AUDIO, "levels": {"at_s": at_s, "sides": [level] * 2}, **more}


@pytest.mark.parametrize(
    ("feed", "heard", "swahili"),
    [
        (told(tracks=[{"kind": "video"}]), Heard.NONE, "Hakuna sauti"),
        (told(levels=None), Heard.WAITING, "bado haijapimwa"),
        (told(at_s=100 - OLD_S - 1), Heard.OLD, "kipimo cha zamani"),
        (told(FLOOR_DBFS), Heard.SILENCE, "Kimya"),
        (told(), Heard.SOUND, "Kushoto"),
    ],
)
def test_a_card_says_what_is_heard(feed: Told, heard: Heard, swahili: str) -> None:
    sound = sound_of(feed, 100.0)
    html = card(Language.SW, facts(sound))
    assert sound.heard is heard and swahili in html
    assert ('<span data-number="ikulu.primary.left.peak">−12.5</span>' in html) == (heard is Heard.SOUND)
    assert html.count("<meter") == (2 if heard is Heard.SOUND else 0)


def test_another_level_is_a_number_and_no_other_card() -> None:
    cards = Cards(card)
    assert cards.take([facts(sound_of(told(-12.5), 100.0))], 1)
    assert not cards.take([facts(sound_of(told(-20.5), 100.0))], 2)
    assert cards.take([facts(sound_of(told(FLOOR_DBFS), 100.0))], 3), "silence is told in words"
    assert level_numbers(told(-20.5)) == {
        "left.peak": "-20.5", "left.rms": "-26.5", "right.peak": "-20.5", "right.rms": "-26.5",
    }  # fmt: skip


def facts(sound: Sound) -> Facts:
    feed = FeedFacts("primary", "good", False, Still.NONE, 1.0, sound)
    return Facts(OnWall("ikulu", "Ikulu", "State House", None), (feed,), False)


def card(language: Language, one: Facts) -> str:
    return str(make_site().macro(language, "ingest/console/card.html", "card")(one))
