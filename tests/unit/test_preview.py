"""The preview without a browser: bitstreams, timestamps, queues, meters, offers, limits. Chromium is in tests/live."""

import asyncio
import math
from array import array
from collections.abc import Callable, Coroutine
from fractions import Fraction

import av
import pytest
from aiortc import RTCPeerConnection
from aiortc.mediastreams import MediaStreamError

from core.media import flv
from core.media.packet import Packet
from core.web.i18n import Language
from ingest.feed import Feed
from ingest.preview.forward import Forward
from ingest.preview.h264 import annex_b, parameter_sets
from ingest.preview.meters import LevelMeter
from ingest.preview.refusals import STATUS, TEXTS, PreviewRefused, Reason, explain
from ingest.preview.session import Hearing, SessionLimits, read_offer, without_candidates
from ingest.preview.sound import FLOOR_DB, Levels
from ingest.preview.track import MAX_QUEUED, EncodedTrack
from ingest.preview.whep import PreviewLimits, Previews
from ingest.rtmp.door import FeedEnd
from tests.unit.media_kit import AVCC, PPS, SPS_360P30, aac_48k, picture, video_track

START = b"\0\0\0\1"
IDR, SLICE, AUD, SEI, FILLER = b"\x65idr", b"\x41p", b"\x09\xf0", b"\x06sei", b"\x0c\xff"


def avcc(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


async def until(holds: Callable[[], bool]) -> None:
    """What ends a session is other tasks' and aiortc's; the scenario's time limit bounds this."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


# H.264.


@pytest.mark.parametrize(
    ("payload", "before", "expected"),
    [
        (avcc(IDR), b"", START + IDR),
        (avcc(SEI, SLICE, SLICE), b"", START + SEI + START + SLICE + START + SLICE),
        (avcc(AUD, IDR, FILLER), b"sets", b"sets" + START + IDR),
        (memoryview(avcc(IDR)), b"", START + IDR),
        (avcc(IDR) + avcc(SLICE)[:-1], b"", START + IDR),
        (avcc(b"", IDR), b"", b""),
        (avcc(AUD), b"sets", b""),
        (b"\xff\xff\xff\xff\x65", b"sets", b""),
        (b"\0\0\0", b"", b""),
        (START + IDR, b"", START + IDR[:1]),
        (b"", b"sets", b""),
    ],
)
def test_access_units_become_annex_b(payload: bytes, before: bytes, expected: bytes) -> None:
    assert annex_b(payload, before) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AVCC, START + SPS_360P30 + START + PPS),
        (AVCC + b"\xfd\xf8\xf8\0", START + SPS_360P30 + START + PPS),
        (AVCC[: 8 + len(SPS_360P30)], START + SPS_360P30),
        (AVCC[:5], b""),
    ],
)
def test_parameter_sets_go_ahead_of_keyframes(config: bytes, expected: bytes) -> None:
    assert parameter_sets(config) == expected


# Timestamps and queues.


@pytest.mark.parametrize(
    ("fed_ms", "told_ms"),
    [
        ([5000, 5040, 5080], [0, 40, 80]),
        ([0, 40, 9040], [0, 40, 9040]),
        ([5000, 5040, 100, 140], [0, 40, 80, 120]),
        ([0, 40, 900_000, 900_040], [0, 40, 80, 120]),
        ([2**32 - 20, 20], [0, 40]),
    ],
)
def test_time_only_goes_forward(fed_ms: list[int], told_ms: list[int]) -> None:
    forward = Forward()
    assert [forward.of(dts_ms) for dts_ms in fed_ms] == told_ms


def encoded(pts: int) -> "av.Packet[av.stream.Stream]":
    packet = av.Packet(b"x")
    packet.pts = pts
    return packet


async def taken(track: EncodedTrack, count: int) -> list[int | None]:
    return [(await track.recv()).pts for _ in range(count)]


def test_a_viewer_sees_the_still_then_begins_at_a_keyframe() -> None:
    async def scenario() -> None:
        track = EncodedTrack("video", lambda: encoded(100), lambda: None)
        track.put(encoded(1), True)  # nobody is connected yet
        assert await taken(track, 1) == [100]
        for pts, is_key in ((2, False), (3, True), (4, False)):
            track.put(encoded(pts), is_key)
        assert await taken(track, 2) == [3, 4]

    run(scenario())


def test_a_full_queue_is_dropped_to_the_next_keyframe() -> None:
    async def scenario() -> None:
        track = EncodedTrack("video", lambda: encoded(0), lambda: None)
        await taken(track, 1)
        for pts in range(MAX_QUEUED + 2):
            track.put(encoded(pts), pts == 0)
        assert track.dropped == MAX_QUEUED + 1
        track.put(encoded(900), True)
        assert await taken(track, 1) == [900]

    run(scenario())


def test_a_stopped_track_ends_its_sender_and_says_so_once() -> None:
    async def scenario() -> None:
        stops: list[None] = []
        track = EncodedTrack("audio", lambda: None, lambda: stops.append(None))
        waiting = asyncio.ensure_future(track.recv())
        await asyncio.sleep(0)
        track.stop()
        track.stop()
        with pytest.raises(MediaStreamError):
            await waiting
        with pytest.raises(MediaStreamError):
            await track.recv()
        assert len(stops) == 1

    run(scenario())


# Meters, on the tones of EBU Tech 3341, table 1.


def levels_of(*dbfs: float, seconds: float = 4, rate_hz: int = 48_000) -> Levels:
    """Of a sine of 1 kHz in stereo, at one level after the other."""
    meter, at = None, 0
    for peak in dbfs:
        amplitude = 10 ** (peak / 20)
        for _ in range(int(seconds * rate_hz / 1024)):
            frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            wave = array("f", [amplitude * math.sin(2 * math.pi * 1000 * n / rate_hz) for n in range(at, at + 1024)])
            for plane in frame.planes:
                plane.update(wave.tobytes())
            frame.sample_rate, frame.time_base, at = rate_hz, Fraction(1, rate_hz), at + 1024
            meter = meter or LevelMeter(frame)
            meter.take(frame)
    assert meter is not None and meter.levels is not None
    return meter.levels


@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
@pytest.mark.parametrize("dbfs", [-23.0, -33.0, -6.0])
def test_a_steady_tone_is_as_loud_as_the_standard_says(dbfs: float, rate_hz: int) -> None:
    levels = levels_of(dbfs, rate_hz=rate_hz)
    assert levels.momentary_lufs == pytest.approx(dbfs, abs=0.1)
    assert levels.short_term_lufs == pytest.approx(dbfs, abs=0.1)
    assert levels.peak_dbfs == pytest.approx((dbfs, dbfs), abs=0.1)


def test_momentary_is_quicker_than_short_term_and_peaks_fall() -> None:
    levels = levels_of(-20, -40, seconds=2)
    assert levels.momentary_lufs == pytest.approx(-40, abs=0.2)
    assert levels.short_term_lufs == pytest.approx(-24.4, abs=0.4)
    assert levels.peak_dbfs == pytest.approx((-40, -40), abs=0.2)


def test_silence_is_a_number() -> None:
    assert levels_of(-math.inf) == Levels((FLOOR_DB, FLOOR_DB), FLOOR_DB, FLOOR_DB)


# Offers and sessions. The browser is aiortc; that Chromium does the same is tested in tests/live.


async def offered(*kinds: str) -> str:
    browser = RTCPeerConnection()
    for kind in kinds:
        browser.addTransceiver(kind, "recvonly")
    await browser.setLocalDescription(await browser.createOffer())
    sdp: str = browser.localDescription.sdp
    await browser.close()
    return sdp


OFFER = asyncio.run(offered("audio", "video"))


@pytest.mark.parametrize(
    ("sdp", "refused"),
    [
        ("", Reason.BAD_OFFER),
        ("v=0\r\n", Reason.BAD_OFFER),
        ("<html>", Reason.BAD_OFFER),
        ("v=0\r\nm=video x\r\n", Reason.BAD_OFFER),
        (OFFER[: len(OFFER) // 3], Reason.BAD_OFFER),
        (OFFER + OFFER[OFFER.index("m=video") :], Reason.BAD_OFFER),
        (asyncio.run(offered("video")).replace("H264", "AV1"), Reason.NO_H264),
    ],
)
def test_an_offer_that_can_not_be_met_is_refused(sdp: str, refused: Reason) -> None:
    async def scenario() -> None:
        previews, feed = Previews(), live_feed()
        with pytest.raises(PreviewRefused) as told:
            await previews.offer(feed, sdp)
        assert told.value.reason is refused
        assert previews.watched(feed) is None
        await previews.close()

    run(scenario())


def test_kinds_are_what_the_browser_asks_for() -> None:
    assert read_offer(OFFER) == ["audio", "video"]
    assert read_offer(asyncio.run(offered("audio"))) == ["audio"]
    assert "a=candidate" in OFFER and "a=candidate" not in without_candidates(OFFER)


def live_feed(channel: str = "ikulu") -> Feed:
    feed = Feed("f", "primary", lambda *_: None)
    feed.channel = channel
    for track in (video_track(), aac_48k()):
        feed.on_message(track.kind, 0, bytearray(b"".join(flv.write_tag(track, 0)[1:3])))
    return feed


def send(feed: Feed, packet: Packet) -> None:
    feed.on_message(packet.kind, packet.dts_ms, bytearray(b"".join(flv.write_tag(packet, 0)[1:3])))


def test_viewers_are_counted_by_feed_and_by_worker() -> None:
    async def scenario() -> None:
        previews = Previews(PreviewLimits(per_worker=3, per_feed=2))
        one, two = live_feed("moja"), live_feed("mbili")
        answers = [await previews.offer(feed, OFFER) for feed in (one, one, two)]
        assert "H264" in answers[0].sdp and "VP8" not in answers[0].sdp and "a=sendonly" in answers[0].sdp
        for feed, reason in ((one, Reason.FEED_FULL), (two, Reason.WORKER_FULL)):
            with pytest.raises(PreviewRefused) as told:
                await previews.offer(feed, OFFER)
            assert told.value.reason is reason
        assert not previews.end(answers[0].identity, "mbili") and previews.end(answers[0].identity, "moja")
        await until(lambda: (seen := previews.watched(one)) is not None and seen.viewers == 1)
        await previews.offer(two, OFFER)
        await previews.close()
        assert previews.watched(one) is previews.watched(two) is None

    run(scenario())


@pytest.mark.parametrize("limits", [SessionLimits(connect_s=0.05), SessionLimits(max_age_s=0.05)])
def test_a_session_that_never_connects_or_grows_old_is_ended(limits: SessionLimits) -> None:
    async def scenario() -> None:
        previews, feed = Previews(PreviewLimits(session=limits)), live_feed()
        await previews.offer(feed, OFFER)
        await until(lambda: previews.watched(feed) is None)
        await previews.close()

    run(scenario())


def test_b_frames_end_the_picture_and_not_the_sound() -> None:
    async def scenario() -> None:
        previews, feed = Previews(), live_feed()
        await previews.offer(feed, OFFER)
        await previews.offer(feed, await offered("audio"))
        send(feed, picture(0, key=True, cts_ms=80))
        send(feed, picture(40, cts_ms=81))  # no more than rounding
        seen = previews.watched(feed)
        assert seen is not None and seen.viewers == 2
        send(feed, picture(80, cts_ms=0))
        await until(lambda: (seen := previews.watched(feed)) is not None and seen.viewers == 1)
        await previews.close()

    run(scenario())


def test_the_end_of_a_feed_ends_its_sessions() -> None:
    async def scenario() -> None:
        previews, feed, other = Previews(), live_feed(), live_feed()
        await previews.offer(feed, OFFER)
        await previews.offer(other, OFFER)
        feed.on_end(FeedEnd(True, "unpublished"))
        await until(lambda: previews.watched(feed) is None)
        assert previews.watched(other) is not None
        await previews.close()

    run(scenario())


@pytest.mark.parametrize(
    ("looks", "is_gone"),
    [
        ([(1, 10, "a"), (2, 20, "b"), (13, 30, "c")], False),
        ([(1, 10, "a"), (2, 20, "a"), (9, 30, "a")], False),
        ([(1, 10, "a"), (2, 20, "a"), (12, 30, "a")], True),
        ([(1, 10, "a"), (2, 10, "a"), (12, 10, "a")], False),
        ([(1, 0, None), (12, 0, None)], False),
        ([(1, 10, None), (2, 20, None), (3, 30, None), (11.5, 40, None)], True),
    ],
)
def test_a_viewer_is_gone_who_reports_nothing_of_what_is_sent(
    looks: list[tuple[float, int, object]], is_gone: bool
) -> None:
    hearing = Hearing(silence_s=10, heard_s=0)
    assert [hearing.is_gone(*look) for look in looks][-1] is is_gone


# Words.


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_speaks_both_languages(reason: Reason) -> None:
    assert set(TEXTS) == set(STATUS) == set(Reason)
    told = explain(reason)
    assert set(told) == set(Language) and told["sw"] != told["en"]
