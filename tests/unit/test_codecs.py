"""Codec configurations as encoders send them, and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.media.codecs import audio_track, video_track
from core.media.packet import MediaError
from tests.unit.media_kit import AVCC, SPS_360P30

SPS_720P_HIGH = bytes.fromhex("6764001facd9405005bb016a02020280000003008000001e478c18cb")  # x264, 1280x720, 30/s
SPS_1080P_CROPPED = bytes.fromhex("67640028acd940780227e5c05a808080a0000003002000000781e306 32c0".replace(" ", ""))


def avcc(sps: bytes, length_size: int = 4) -> bytes:
    return b"\x01" + sps[1:4] + bytes((0xFC | length_size - 1, 0xE1)) + len(sps).to_bytes(2, "big") + sps + b"\x01\0\0"


@pytest.mark.parametrize(
    ("sps", "size", "rate", "codecs"),
    [
        (SPS_360P30, (640, 360), 30.0, "avc1.4D401E"),
        (SPS_720P_HIGH, (1280, 720), 30.0, "avc1.64001F"),
        (SPS_1080P_CROPPED, (1920, 1080), 30.0, "avc1.640028"),
    ],
)
def test_what_a_picture_is_like_is_read_from_its_sps(
    sps: bytes, size: tuple[int, int], rate: float, codecs: str
) -> None:
    track = video_track(avcc(sps))
    assert ((track.width, track.height), track.frame_rate, track.codecs) == (size, rate, codecs)


SPS_INTERLACED = bytes.fromhex("674d4015f40a087e5c0440000003004000000c87c50aa8")  # x264, +ildct+ilme
SPS_444_10_BIT = bytes.fromhex("67f4000d90d968141fb011000003000100000300320f142aa0")


@pytest.mark.parametrize(
    ("sps", "profile", "level", "interlaced", "chroma_format", "bit_depth"),
    [
        (SPS_360P30, 77, 30, False, 1, 8),
        (SPS_720P_HIGH, 100, 31, False, 1, 8),
        (SPS_INTERLACED, 77, 21, True, 1, 8),
        (SPS_444_10_BIT, 244, 13, False, 3, 10),
    ],
)
def test_what_browsers_and_screens_may_not_like_is_read_too(
    sps: bytes, profile: int, level: int, interlaced: bool, chroma_format: int, bit_depth: int
) -> None:
    track = video_track(avcc(sps))
    assert (track.profile, track.level, track.interlaced) == (profile, level, interlaced)
    assert (track.chroma_format, track.bit_depth) == (chroma_format, bit_depth)


@pytest.mark.parametrize(
    "config", [b"", b"\x01", AVCC[:9], AVCC[:20], b"\x02" + AVCC[1:], avcc(SPS_360P30, length_size=2), bytes(40)]
)
def test_a_configuration_that_is_none_is_an_error(config: bytes) -> None:
    with pytest.raises(MediaError):
        video_track(config)


@given(st.binary(min_size=1, max_size=64), st.integers(0, 200), st.integers(0, 255))
def test_garbage_is_read_or_refused_and_nothing_else(tail: bytes, at: int, value: int) -> None:
    damaged = bytearray(AVCC)
    damaged[at % len(damaged)] = value
    for config in (bytes(damaged), AVCC[:8] + tail):
        try:
            track = video_track(config)
        except MediaError:
            continue
        assert 0 < track.width <= 16384 and 0 < track.height <= 16384


@pytest.mark.parametrize(
    ("config", "rate_hz", "channels", "codecs"),
    [
        ("1190", 48000, 2, "mp4a.40.2"),
        ("1210", 44100, 2, "mp4a.40.2"),
        ("1188", 48000, 1, "mp4a.40.2"),
        ("13889dc0", 22050, 1, "mp4a.40.2"),
        ("2b118800", 24000, 2, "mp4a.40.5"),  # HE-AAC: the core's rate is the timescale
        ("11b8", 48000, 8, "mp4a.40.2"),
    ],
)
def test_what_sound_is_like(config: str, rate_hz: int, channels: int, codecs: str) -> None:
    track = audio_track(bytes.fromhex(config))
    assert (track.timescale, track.channels, track.codecs) == (rate_hz, channels, codecs)


@pytest.mark.parametrize("config", ["", "11", "1700", "17ff"])
def test_sound_that_is_none_is_an_error(config: str) -> None:
    with pytest.raises(MediaError):
        audio_track(bytes.fromhex(config))
