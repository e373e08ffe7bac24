"""HLS and LL-HLS rules against the running system: a strict client on every rendition, and each HTTP rule by name."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import httpx
import psutil
import pytest

from player import conformance
from tests.conformance import encoder, strict
from tests.conformance.watch import Watched, judge, rendition_urls, watch
from tests.up import Up, data_folder, running

STEADY_S = 12.0
THROUGH_FAULTS_S = float(os.environ.get("MBASHARA_CONFORMANCE_S", "0"))  # at least; 120 for the long run
SEGMENTS_BEFORE = 4  # whole segments before a test begins
AT_ONCE_S = 0.5  # a part's time
WAIT_S = 120.0
QUIET_S = 4.0  # two segments, before and after a fault


fetch = partial(httpx.get, timeout=60)


@dataclass(slots=True)
class Live:
    """A channel that is on the air."""

    multivariant_url: str
    publish_url: str
    encoder: subprocess.Popen[bytes]
    data: Path

    def urls(self) -> dict[str, str]:
        text = fetch(self.multivariant_url).raise_for_status().text
        return {name: url for name, (url, _) in rendition_urls(self.multivariant_url, text).items()}

    @property
    def source_url(self) -> str:
        return self.urls()["source"]

    def now(self) -> conformance.MediaPlaylist:
        return conformance.parse(fetch(self.source_url).raise_for_status().text)

    def get(self, uri: str = "", **directives: int | str) -> httpx.Response:
        """The source's playlist with _HLS_ directives, or a file beside it."""
        params = {f"_HLS_{name}": str(value) for name, value in directives.items()}
        return fetch(urljoin(self.source_url, uri), params=params)


def wait_for(what: Callable[[], bool], within_s: float, why: str) -> None:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        try:
            if what():
                return
        except (httpx.HTTPError, KeyError):
            pass
        time.sleep(0.2)
    pytest.fail(f"not within {within_s:.0f} s: {why}")


def go_live(up: Up, slug: str) -> Live:
    publish_url = f"{up.rtmp_url}/{up.channel_add(slug).primary_key}"
    live = Live(f"{up.http_url}/live/{slug}/index.m3u8", publish_url, encoder.start(publish_url), up.data)
    try:
        wait_for(lambda: len(live.now().segments) >= SEGMENTS_BEFORE, WAIT_S, "the channel is on the air")
        wait_for(lambda: len(live.urls()) >= 4, WAIT_S, "the ladder is there")
    except BaseException:
        encoder.stop(live.encoder)
        raise
    return live


@pytest.fixture(scope="module")
def live(mbashara_up: Up) -> Iterator[Live]:
    with mbashara_up.airing_first():
        channel = go_live(mbashara_up, "kanuni")
        yield channel
        encoder.stop(channel.encoder)


def assert_conforms(seen: Watched, slack_s: float = 1.0) -> None:
    found = judge(seen, slack_s)
    assert not found, "\n".join(found[:12])
    assert strict.rejected(seen.texts) == []


# --- a strict client ---


def test_every_part_of_every_rendition_conforms(live: Live) -> None:
    seen = asyncio.run(watch(live.multivariant_url, STEADY_S))
    assert len(seen.renditions) >= 4
    for name, rendition in seen.renditions.items():
        parts = STEADY_S / (conformance.parse(rendition.reloads[0].text).part_target_s or 0)
        assert len(rendition.reloads) > 0.8 * parts, f"{name} was not followed part by part"
        assert rendition.deltas, f"{name} gave no deltas to compare"
    assert_conforms(seen)


@dataclass(slots=True)
class Troubled:
    """What was seen of a broadcast in trouble, and how the segments that it had at first were answered at its end."""

    seen: Watched
    first_segments: dict[int, int]  # msn -> status


@pytest.fixture(scope="module")
def troubled() -> Iterator[Troubled]:
    """kill -9 of the encoder and a new one within the reconnect window; later kill -9 of the ladder's ffmpeg. The
    window is the shortest, so that segments leave it meanwhile. It is watched until all is well again."""
    with data_folder() as data, running(data, window_s=24) as up, up.airing_first():
        channel = go_live(up, "vurugu")
        url, first = channel.source_url, channel.now().segments
        with ThreadPoolExecutor(1) as pool:
            try:
                faults = pool.submit(_make_trouble, channel, first[0].msn)
                seen = asyncio.run(watch(channel.multivariant_url, 600, faults.done))
                faults.result()
                yield Troubled(seen, {one.msn: fetch(urljoin(url, one.uri)).status_code for one in first})
            finally:
                encoder.stop(channel.encoder)


def test_rules_hold_through_an_encoder_reconnect_and_a_transcoder_death(troubled: Troubled) -> None:
    source = conformance.parse(troubled.seen.renditions["source"].reloads[-1].text)
    assert not source.is_ended, "the broadcast did not survive the reconnect"
    assert source.segments[-1].discontinuity > 0, "the reconnect left no mark"
    rung = conformance.parse(troubled.seen.renditions["144p"].reloads[-1].text)
    assert not rung.segments[-1].is_gap, "the rungs did not come back"
    assert_conforms(troubled.seen, slack_s=2.0)


def test_a_segment_that_left_the_window_stays_downloadable(troubled: Troubled) -> None:
    """For its duration and that of the longest playlist that named it (6.2.2); here for as long as the recording."""
    source = conformance.parse(troubled.seen.renditions["source"].reloads[-1].text)
    gone = {msn: status for msn, status in troubled.first_segments.items() if msn < source.media_sequence}
    assert gone and set(gone.values()) == {200}


def _make_trouble(channel: Live, first_msn: int) -> None:
    began_s = time.monotonic()
    time.sleep(QUIET_S)
    channel.encoder.kill()
    channel.encoder.wait()
    time.sleep(3)
    channel.encoder = encoder.start(channel.publish_url)
    wait_for(lambda: channel.now().segments[-1].discontinuity > 0, WAIT_S, "the new encoder is on the air")
    wait_for(lambda: not is_gap_now(rung(channel)), WAIT_S, "and the ladder")
    time.sleep(QUIET_S)
    wait_for(lambda: bool(transcoders(channel.data)), WAIT_S, "a transcoder is running")
    msn, part = newest_part(rung(channel))
    for pid in transcoders(channel.data):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: has_gap_after(rung(channel), msn, part), WAIT_S, "the dead ladder leaves a gap")
    wait_for(lambda: not is_gap_now(rung(channel)), WAIT_S, "the rungs came back")
    wait_for(lambda: channel.now().media_sequence > first_msn, WAIT_S, "the first segment left the window")
    time.sleep(max(QUIET_S, began_s + THROUGH_FAULTS_S - time.monotonic()))


def rung(channel: Live) -> conformance.MediaPlaylist:
    return conformance.parse(fetch(channel.urls()["144p"]).raise_for_status().text)


def newest_part(now: conformance.MediaPlaylist) -> tuple[int, int]:
    segment = now.open if now.open.parts else now.segments[-1]
    return segment.msn, len(segment.parts) - 1


def is_gap_now(now: conformance.MediaPlaylist) -> bool:
    return (now.open.parts or now.segments[-1].parts)[-1].is_gap


def has_gap_after(now: conformance.MediaPlaylist, msn: int, part: int) -> bool:
    listed = ((one.msn, number, each) for one in now.listed for number, each in enumerate(one.parts))
    return any(each.is_gap for at_msn, at_part, each in listed if (at_msn, at_part) > (msn, part))


def transcoders(data: Path) -> list[int]:
    """ffmpeg children of this data folder's media process, told by that one's environment: they have none."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            parent = one.parent()
            if parent is not None and "ffmpeg" in one.name() and parent.environ().get("MBASHARA_DATA") == str(data):
                found.append(one.pid)
    return found


# --- blocking reload (6.2.5.2) ---


def test_a_reload_is_held_until_its_part_is_there(live: Live) -> None:
    waited_s = []
    for _ in range(3):
        msn, part = next_part(live.now())
        answer = live.get(msn=msn, part=part + 1)
        assert answer.status_code == 200
        assert next_part(conformance.parse(answer.text)) > (msn, part + 1), "answered before the part was there"
        waited_s.append(answer.elapsed.total_seconds())
    assert min(waited_s) < 3


def next_part(now: conformance.MediaPlaylist) -> tuple[int, int]:
    return now.open.msn, len(now.open.parts)


def test_a_part_without_its_segment_is_400(live: Live) -> None:
    assert live.get(part=0).status_code == 400


@pytest.mark.parametrize("query", ["_HLS_msn=x", "_HLS_msn=-1", "_HLS_msn=1.5", "_HLS_msn=1&_HLS_part=x", "_HLS_msn="])
def test_a_directive_that_is_no_number_is_400(live: Live, query: str) -> None:
    assert fetch(f"{live.source_url}?{query}").status_code == 400


def answered_at_once(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Three times: what is held for media is held each time, a busy machine is slow in one. The time is the answer's
    own, without those of the requests before it."""
    answers = [ask() for _ in range(3)]
    assert min(answer.elapsed.total_seconds() for answer in answers) < AT_ONCE_S
    assert len({answer.status_code for answer in answers}) == 1
    return answers[-1]


def test_a_segment_too_far_ahead_is_400_at_once(live: Live) -> None:
    assert answered_at_once(lambda: live.get(msn=live.now().segments[-1].msn + 4)).status_code == 400


def test_a_part_beyond_the_advance_limit_is_400_at_once(live: Live) -> None:
    def ask() -> httpx.Response:
        now = live.now()
        msn, part = next_part(now)
        limit = 3 / (now.part_target_s or 1)
        return live.get(msn=msn, part=part + int(limit) + 2)

    assert answered_at_once(ask).status_code == 400


def test_a_stale_number_gets_the_current_playlist(live: Live) -> None:
    current = next_part(live.now())
    answer = answered_at_once(lambda: live.get(msn=0, part=0))
    assert answer.status_code == 200
    assert next_part(conformance.parse(answer.text)) >= current


def test_a_segment_without_a_part_is_held_until_the_segment_is_whole(live: Live) -> None:
    """Safari asks so; an answer at once would make it spin (OvenMediaEngine PR 2207)."""
    msn = live.now().open.msn
    answer = live.get(msn=msn)
    assert answer.status_code == 200
    assert conformance.parse(answer.text).segments[-1].msn >= msn


def test_a_part_past_the_end_of_a_segment_is_part_0_of_the_next(live: Live) -> None:
    """hls.js asks for the part after the last one even when the segment is finished (hls.js 3571, 5608)."""
    done = live.now().segments[-1]
    answer = live.get(msn=done.msn, part=len(done.parts))
    now = conformance.parse(answer.text)
    assert answer.status_code == 200
    assert next_part(now) >= (done.msn + 1, 1) or now.segments[-1].msn > done.msn


def test_a_delta_is_shorter_and_merges(live: Live) -> None:
    wait_for(lambda: live.now().duration_s > 9 * live.now().target_duration_s, WAIT_S, "a window beyond the boundary")
    before = live.get().text
    delta = live.get(skip="YES")
    assert len(delta.text) < len(before)
    assert conformance.check_delta(before, delta.text) == []
    assert live.get(skip="v2").text.count("#EXT-X-SKIP") == 1


# --- files ---


def test_the_hinted_part_is_held_until_it_is_whole(live: Live) -> None:
    now = live.now()
    hint = now.hints[0][1]["URI"]
    answer = live.get(hint)
    assert answer.status_code in (200, 404), "a hint that a segment's end overtook may be dropped, nothing else"
    listed = {part.uri: part for segment in live.now().listed for part in segment.parts}
    assert (hint in listed) == (answer.status_code == 200)
    if answer.status_code == 200:
        assert len(answer.content) == int(answer.headers["content-length"])
        assert answer.content[4:8] == b"moof"


def test_an_unknown_part_is_404_at_once(live: Live) -> None:
    for name in ("{msn}.{part}.m4s", "{far}.0.m4s", "{far}.m4s", "nothing.m4s"):
        msn, part = next_part(live.now())
        uri = name.format(msn=msn, part=part + 5, far=msn + 4)
        assert answered_at_once(partial(live.get, uri)).status_code == 404, uri


def test_files_are_immutable_and_typed(live: Live) -> None:
    now = live.now()
    segment = now.segments[-1]
    for uri in (segment.uri, segment.parts[0].uri, segment.map_uri or ""):
        answer = live.get(uri)
        assert answer.status_code == 200, uri
        assert answer.headers["content-type"] == "video/mp4"
        assert "immutable" in answer.headers["cache-control"]
        assert max_age_s(answer) >= 3 * now.target_duration_s


def test_a_part_outlives_its_line_by_three_target_durations(live: Live) -> None:
    wait_for(lambda: live.now().duration_s > 7 * live.now().target_duration_s, WAIT_S, "a long enough window")
    now = live.now()
    unlisted = next(segment for segment in reversed(now.segments) if not segment.parts)
    assert live.get(f"{unlisted.msn}.0.m4s").status_code == 200


def max_age_s(answer: httpx.Response) -> int:
    found = [part for part in answer.headers["cache-control"].split(",") if "max-age=" in part]
    return int(found[0].split("=")[1]) if found else 0


# --- headers ---


def test_playlists_are_typed_and_gzipped(live: Live) -> None:
    for url in (live.multivariant_url, live.source_url, f"{live.source_url}?_HLS_msn=0"):
        answer = fetch(url, headers={"accept-encoding": "gzip"})
        assert answer.headers["content-type"].split(";")[0] == "application/vnd.apple.mpegurl"
        assert answer.headers["content-encoding"] == "gzip"
        assert fetch(url, headers={"accept-encoding": "identity"}).text.startswith("#EXTM3U\n")


def test_playlists_give_no_byte_ranges(live: Live) -> None:
    for url in (live.source_url, f"{live.source_url}?_HLS_msn=0"):
        answer = fetch(url, headers={"range": "bytes=0-9", "accept-encoding": "identity"})
        assert answer.status_code == 200
        assert answer.headers.get("accept-ranges", "none") == "none"


def test_plain_playlists_are_cached_shortly_and_blocking_ones_long(live: Live) -> None:
    now = live.now()
    msn, part = next_part(now)
    assert max_age_s(live.get()) <= now.target_duration_s / 2
    assert max_age_s(live.get(msn=msn, part=part)) >= now.target_duration_s
    assert max_age_s(live.get(msn=msn + 9)) <= 4 * now.target_duration_s


@pytest.mark.parametrize("path", ["multivariant", "playlist", "blocking", "part", "segment", "init", "refusal"])
def test_any_origin_may_read_and_sees_age_and_date(live: Live, path: str) -> None:
    segment = live.now().segments[-1]
    url = {
        "multivariant": live.multivariant_url,
        "playlist": live.source_url,
        "blocking": f"{live.source_url}?_HLS_msn=0",
        "part": urljoin(live.source_url, segment.parts[0].uri),
        "segment": urljoin(live.source_url, segment.uri),
        "init": urljoin(live.source_url, segment.map_uri or ""),
        "refusal": f"{live.source_url}?_HLS_part=0",
    }[path]
    answer = fetch(url, headers={"origin": "https://taasisi.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"age", "date"}
    assert "date" in answer.headers


def test_no_redirects(live: Live) -> None:
    segment = live.now().segments[-1]
    for url in (live.multivariant_url, live.source_url, urljoin(live.source_url, segment.uri)):
        assert fetch(url, follow_redirects=False).status_code == 200


# --- time ---


def test_program_date_time_is_the_wall_clock(live: Live) -> None:
    """The newest part's end lies at most a second before now (Apple 8.4)."""
    behind_s = []
    for _ in range(3):  # a busy machine is slow in one
        segment = live.now().listed[-1]
        assert segment.starts_at_s is not None
        behind_s.append(time.time() - segment.starts_at_s - segment.length_s)
    assert -0.1 < min(behind_s) < 2.0


# --- the end ---


def test_directives_are_ignored_after_the_end_and_segments_stay(mbashara_up: Up) -> None:
    channel = go_live(mbashara_up, "mwisho")
    url, first = channel.source_url, channel.now().segments[0]
    encoder.stop(channel.encoder)
    wait_for(lambda: "#EXT-X-ENDLIST" in fetch(url).text, WAIT_S, "ENDLIST")
    ended = fetch(url).text
    last = conformance.parse(ended).segments[-1].msn
    assert conformance.check_media_playlist(ended) == []
    for query in (
        f"_HLS_msn={last + 50}",
        f"_HLS_msn={last + 1}&_HLS_part=3",
        "_HLS_msn=0&_HLS_part=99",
        "_HLS_skip=YES",
    ):
        answer = answered_at_once(partial(fetch, f"{url}?{query}"))
        assert (answer.status_code, answer.text) == (200, ended), query
    assert fetch(urljoin(url, first.uri)).status_code == 200
    assert strict.rejected([ended]) == []
