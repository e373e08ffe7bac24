"""What a file is said to hold, and what is made of that: copied where viewers' players take it as it is, else encoded.

Pure: the looking is done in `look.py`, by a process in a cage.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from transcode.video_packager import SEGMENT_MIN_MS

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,asf,mxf,flv,ogg,wav,w64,mp3,aac,"
    "flac,aiff,au,caf,amr,ac3,eac3,dv,gxf,nut,rm,ivf,wtv,ape,wv,tta,dts"
)
"""Demuxers that read one file and open no other: no playlists, no lists of files, no subtitles, no pictures."""
TELL_LENGTH = frozenset({"mov", "matroska", "avi", "asf", "mxf", "flv"})
"""Containers whose header says how long the whole is; others' is guessed from what there is."""
SHORT_BY_MS, SHORT_BY = 1000, 0.01
COPIED_FROM = frozenset({"mov", "matroska", "mpegts", "flv"})
"""Others don't say when a picture is shown."""
COPIED_PROFILES = frozenset({"baseline", "constrained baseline", "main", "high"})
COPIED_BPS = 12_000_000
COPIED_SEGMENT_MS = 12_000
COPIED_FRAME_MS = 400
"""The longest that a picture may stand: a part of half a second holds it."""
AAC_RATES_HZ = frozenset({48000, 44100, 32000, 24000, 22050})
FPS_RANGE = (Fraction(10), Fraction(60))
USUAL_FPS = Fraction(25)


class Trouble(StrEnum):
    """Why a file did not become a recording."""

    NOT_MEDIA = "not_media"
    NO_TRACKS = "no_tracks"
    ENCRYPTED = "encrypted"
    TRUNCATED = "truncated"
    TOO_LONG = "too_long"
    BROKEN = "broken"
    STALLED = "stalled"
    DISK_FULL = "disk_full"
    CHANGED = "changed"
    GONE = "gone"
    EXPIRED = "expired"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Picture:
    """`rate` is frames per second as a fraction's text; `aspect` the shape of a pixel; times in milliseconds.
    `is_decoded`: pictures came out of it; `is_steady`: its times grow without jumps."""

    index: int
    codec: str
    profile: str
    pixels: str
    width: int
    height: int
    rate: str
    aspect: str
    rotation: int
    interlaced: bool
    is_decoded: bool
    longest_frame_ms: float
    longest_segment_ms: float
    bitrate_bps: int
    is_steady: bool


@dataclass(frozen=True, slots=True)
class Sound:
    index: int
    codec: str
    profile: str
    rate_hz: int
    channels: int
    is_steady: bool


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`told_ms` is how long the file says it is, None where it does not; `read_ms` how much of it could be read.
    `created`: ISO 8601, as the file says."""

    container: str
    told_ms: int | None
    read_ms: int
    created: str | None
    encrypted: bool
    picture: Picture | None
    sound: Sound | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> "FileFacts":
        picture, sound = told["picture"], told["sound"]
        return FileFacts(
            **{
                **told,
                "picture": None if picture is None else Picture(**picture),
                "sound": None if sound is None else Sound(**sound),
            }
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """`read_ms` of `told_ms` could be read, where that is what is wrong."""

    trouble: Trouble
    read_ms: int = 0
    told_ms: int = 0


@dataclass(frozen=True, slots=True)
class Making:
    """How the source rendition is made, of which of the file's streams. `fps` is an encoded picture's."""

    picture: int | None
    sound: int | None
    copies_picture: bool
    copies_sound: bool
    fps: Fraction
    interlaced: bool
    channels: int
    target_duration_s: int
    length_ms: int


def is_short(facts: FileFacts) -> bool:
    """Whether the file ends before it says it does."""
    if facts.told_ms is None:
        return False
    return facts.told_ms - facts.read_ms > max(SHORT_BY_MS, SHORT_BY * facts.told_ms)


def decide(facts: FileFacts, *, takes_short: bool, longest_ms: int, target_duration_s: int) -> Making | Refused:
    """`takes_short`: what is there of a file that is not whole is wanted."""
    if facts.encrypted:
        return Refused(Trouble.ENCRYPTED)
    if facts.picture is None and facts.sound is None:
        return Refused(Trouble.NO_TRACKS)
    if max(facts.read_ms, facts.told_ms or 0) > longest_ms:
        return Refused(Trouble.TOO_LONG, facts.read_ms, max(facts.read_ms, facts.told_ms or 0))
    if facts.read_ms <= 0 or (is_short(facts) and not takes_short):
        return Refused(Trouble.TRUNCATED, facts.read_ms, facts.told_ms or 0)
    picture, sound = facts.picture, facts.sound
    if picture is not None and not picture.is_decoded:
        return Refused(Trouble.BROKEN)
    copies_picture = picture is not None and copies(facts.container, picture)
    if picture is not None and copies_picture:
        target_duration_s = max(target_duration_s, math.ceil(picture.longest_segment_ms / 1000 - 0.499))
    return Making(
        picture=picture.index if picture is not None else None,
        sound=sound.index if sound is not None else None,
        copies_picture=copies_picture,
        copies_sound=sound is not None and copies_sound(sound),
        fps=frame_rate(picture.rate) if picture is not None else USUAL_FPS,
        interlaced=picture is not None and picture.interlaced,
        channels=min(2, sound.channels) if sound is not None else 0,
        target_duration_s=target_duration_s,
        length_ms=facts.read_ms,
    )


def copies(container: str, picture: Picture) -> bool:
    """Whether every player shows it as it is, and it can be cut into segments that begin with a keyframe."""
    return (
        not COPIED_FROM.isdisjoint(container.split(",")) and picture.codec == "h264"
        and picture.pixels == "yuv420p" and picture.profile.lower() in COPIED_PROFILES
        and not picture.interlaced and picture.rotation == 0 and picture.aspect in ("0/1", "1/1", "0", "1")
        and picture.is_steady and picture.longest_frame_ms <= COPIED_FRAME_MS
        and picture.longest_segment_ms <= COPIED_SEGMENT_MS and picture.bitrate_bps <= COPIED_BPS
    )  # fmt: skip


def copies_sound(sound: Sound) -> bool:
    is_plain = sound.codec == "aac" and sound.profile.upper() in ("LC", "AAC-LC")
    return is_plain and sound.is_steady and sound.channels <= 2 and sound.rate_hz in AAC_RATES_HZ


def frame_rate(text: str) -> Fraction:
    """Of an encoded picture: the file's own where it is a usual one."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return USUAL_FPS
    least, most = FPS_RANGE
    if rate > most:
        return rate / math.ceil(rate / most) if rate <= 4 * most else USUAL_FPS
    return rate if rate >= least else USUAL_FPS


def longest_segment_ms(keys_ms: Sequence[float], end_ms: float) -> float:
    """Of the segments that the packager cuts at these keyframes."""
    longest_ms, start_ms = 0.0, keys_ms[0] if keys_ms else 0.0
    for key_ms in keys_ms[1:]:
        if key_ms - start_ms >= SEGMENT_MIN_MS:
            longest_ms, start_ms = max(longest_ms, key_ms - start_ms), key_ms
    return max(longest_ms, end_ms - start_ms)
