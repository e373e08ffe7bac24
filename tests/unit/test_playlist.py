"""Playlists of a window that moves, and the blocking-reload decision (8216bis 4.4, 6.2.5.2)."""

import asyncio
import gzip
from pathlib import Path

import pytest

from core.media.hub import Hub, OnAir
from core.media.packet import Kind
from core.media.window import Cadence, LiveWindow
from core.web.http import Request
from player import conformance
from player.delivery import Delivery
from player.playlist import MediaPlaylist, Rendition, audio_multivariant, multivariant
from player.reload import Answer, DirectiveError, Directives, decide, parse_directives
from tests.unit.media_kit import aac_48k, picture, video_track
from transcode.timeline import Timeline
from transcode.video_packager import VideoPackager


def make(window_s: float = 40) -> tuple[VideoPackager, LiveWindow, Timeline]:
    cadence = Cadence(window_s=window_s)
    window = LiveWindow("source", Kind.VIDEO, cadence, 1_700_000_000_000)
    timeline = Timeline()
    packager = VideoPackager(timeline, cadence, window, leads=True)
    packager.configure(video_track())
    return packager, window, timeline


def feed(packager: VideoPackager, start_s: float, end_s: float) -> None:
    for number in range(round(start_s * 25), round(end_s * 25)):
        packager.write(picture(number * 40, number % 50 == 0))


def test_kept_texts_are_what_a_new_renderer_says_at_every_part() -> None:
    packager, window, timeline = make()
    kept = MediaPlaylist(window, {"source": window})
    for second in range(0, 120, 1):
        if second in (50, 51, 52):
            packager.fill_gap(second * 1000)
        elif second == 53:
            timeline.break_wanted = True
            packager.resume(53_000)
            feed(packager, 54, 55)
        else:
            feed(packager, second, second + 1)
        assert kept.full() == MediaPlaylist(window, {"source": window}).full()
        assert conformance.check_media_playlist(kept.full()) == []
    packager.end()
    assert kept.full().endswith("#EXT-X-ENDLIST\n") and "PRELOAD" not in kept.full()


def test_delta_and_full_say_the_same() -> None:
    packager, window, _ = make(window_s=60)
    playlist = MediaPlaylist(window, {})
    feed(packager, 0, 23)
    assert playlist.delta() is None, "nothing is past the skip boundary yet"
    feed(packager, 23, 90)
    delta = playlist.delta()
    assert delta is not None and len(delta) < len(playlist.full())
    merged = conformance.apply_delta(playlist.full(), delta)
    init = '#EXT-X-MAP:URI="init-0.mp4"\n'
    assert merged.replace(init + init, init) == playlist.full()


@pytest.mark.parametrize(
    ("name", "msn", "part", "answer"),
    [
        ("no directive", None, None, Answer.READY),
        ("an old number gets the current playlist", 0, None, Answer.READY),
        ("an old part too", 3, 2, Answer.READY),
        ("the last complete segment", 14, None, Answer.READY),
        ("the open segment is not complete", 15, None, Answer.WAIT),
        ("two ahead", 16, None, Answer.WAIT),
        ("more than two ahead", 17, None, Answer.BAD_REQUEST),
        ("a listed part", 15, 1, Answer.READY),
        ("the hinted part", 15, 2, Answer.WAIT),
        ("within the advance part limit", 15, 7, Answer.WAIT),
        ("beyond it", 15, 8, Answer.BAD_REQUEST),
        ("past the end of a finished parent is part 0 of the next", 14, 5, Answer.READY),
        ("far past the end", 14, 12, Answer.BAD_REQUEST),
        ("part 0 of the segment after the open one", 16, 0, Answer.WAIT),
    ],
)
def test_decision(name: str, msn: int | None, part: int | None, answer: Answer) -> None:
    packager, window, _ = make()
    feed(packager, 0, 31.2)
    assert (window.next_msn, window.open and len(window.open.parts)) == (15, 2)
    assert decide(window, Directives(msn, part)) is answer, name


def test_directives_are_ignored_after_the_end() -> None:
    packager, window, _ = make()
    feed(packager, 0, 5)
    packager.end()
    assert decide(window, Directives(999, 0)) is Answer.READY


@pytest.mark.parametrize("query", ["_HLS_part=1", "_HLS_msn=x", "_HLS_msn=-1", "_HLS_msn=", "_HLS_msn=1&_HLS_part=²"])
def test_bad_directives(query: str) -> None:
    with pytest.raises(DirectiveError):
        parse_directives(query)


def test_other_keys_are_the_servers_own() -> None:
    assert parse_directives("token=a=b&_HLS_msn=7&_HLS_part=2&_HLS_skip=v2") == Directives(7, 2, True)


class Client:
    """One request to the delivery."""

    def __init__(self, delivery: Delivery, path: str, query: str = "") -> None:
        self.status, self.body = 0, b""
        self.headers: dict[str, str] = {}
        self._delivery, self._request = delivery, Request(path, query, accepts_gzip=True)

    async def run(self) -> "Client":
        head, _, self.body = (await self._delivery(self._request)).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status, self.headers = int(first.split()[1]), dict(line.split(": ", 1) for line in lines)
        return self


BROADCAST = "0" * 26
SOURCE = f"/live/ikulu/{BROADCAST}/source"


def deliver(window: LiveWindow, folder: Path, max_waiting: int = 100) -> Delivery:
    hub = Hub()
    hub.add(OnAir("ikulu", BROADCAST, {"source": window}))
    playlist = MediaPlaylist(window, {})
    return Delivery(hub, lambda _: playlist, folder, folder / "live", max_waiting)


def test_a_reload_waits_for_its_part_and_all_get_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        packager, window, _ = make()
        feed(packager, 0, 5)
        delivery = deliver(window, tmp_path)
        edge = window.edge
        assert edge is not None
        query = f"_HLS_msn={edge.msn}&_HLS_part={edge.part + 1}"
        waiting = [asyncio.create_task(Client(delivery, f"{SOURCE}/index.m3u8", query).run()) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert delivery.waiting == 20 and not any(task.done() for task in waiting)
        feed(packager, 5, 5.8)
        answers = await asyncio.gather(*waiting)
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert f'{edge.msn}.{edge.part + 1}.m4s"' in gzip.decompress(answers[0].body).decode()
        assert answers[0].headers["cache-control"] == "public, max-age=24"
        assert delivery.waiting == 0

    asyncio.run(scenario())


def test_503_where_three_target_durations_bring_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        window = LiveWindow("source", Kind.VIDEO, Cadence(target_duration_s=0), 0)  # three times nothing: at once
        packager = VideoPackager(Timeline(), Cadence(), window, leads=True)
        packager.configure(video_track())
        feed(packager, 0, 5)
        answer = await Client(deliver(window, tmp_path), f"{SOURCE}/index.m3u8", "_HLS_msn=3").run()
        assert answer.status == 503 and answer.headers["cache-control"] == "no-store"

    asyncio.run(scenario())


def test_waiting_requests_are_bounded(tmp_path: Path) -> None:
    async def scenario() -> None:
        packager, window, _ = make()
        feed(packager, 0, 5)
        delivery = deliver(window, tmp_path, max_waiting=1)
        first = asyncio.create_task(Client(delivery, f"{SOURCE}/index.m3u8", "_HLS_msn=3").run())
        await asyncio.sleep(0)
        assert (await Client(delivery, f"{SOURCE}/index.m3u8", "_HLS_msn=3").run()).status == 503
        first.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path",
    [
        "/live/ikulu/x/source/index.m3u8",
        f"{SOURCE}/../../x",
        f"{SOURCE}/999.m4s",
        f"{SOURCE}/0.9.m4s",
        f"{SOURCE}/9.0.m4s",
    ],
)
def test_what_nobody_named_is_404(path: str, tmp_path: Path) -> None:
    packager, window, _ = make()
    feed(packager, 0, 5)
    assert asyncio.run(Client(deliver(window, tmp_path), path).run()).status == 404


def test_multivariants() -> None:
    rendered = multivariant(
        [
            Rendition("source", video_track(), "b/source/index.m3u8", 4_000_000, 3_900_000),
            Rendition("source-audio", aac_48k(), "b/source-audio/index.m3u8", 130_000, 128_000),
            Rendition("low-audio", aac_48k(), "b/low-audio/index.m3u8", 36_000, 32_000),
            Rendition("144p", video_track(), "b/144p/index.m3u8", 100_000, 80_000),
        ]
    )
    assert conformance.check_multivariant(rendered) == []
    assert 'BANDWIDTH=136000,AVERAGE-BANDWIDTH=112000,CODECS="avc1.4D401E,mp4a.40.2"' in rendered
    sound = audio_multivariant([Rendition("source-audio", aac_48k(), "a/index.m3u8", 130_000, 128_000)])
    assert "RESOLUTION" not in sound and conformance.check_multivariant(sound) == []
