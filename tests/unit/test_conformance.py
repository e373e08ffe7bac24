"""The rule checker: good playlists pass, and each rule is broken once by one mutation that it must name."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from core.media import fmp4
from player import conformance

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
TD_S, PT_S, SEGMENT_S, PARTS = 4, 0.5, 4.0, 8
Mutation = Callable[[str], str]


def segment_lines(msn: int, with_parts: bool) -> str:
    moment = (START + timedelta(seconds=msn * SEGMENT_S)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"#EXT-X-PROGRAM-DATE-TIME:{moment}\n" + (part_lines(msn, PARTS) if with_parts else "")


def part_lines(msn: int, count: int) -> str:
    first = f'#EXT-X-PART:DURATION={PT_S:.5f},URI="{msn}.0.m4s",INDEPENDENT=YES\n'
    rest = [f'#EXT-X-PART:DURATION={PT_S:.5f},URI="{msn}.{index}.m4s"\n' for index in range(1, count)]
    return "".join([first, *rest][:count])


def playlist(first: int = 20, last: int = 31, open_parts: int = 3, skipped: int = 0, ended: bool = False) -> str:
    """Segments first..last and an open one with `open_parts` parts; the source's report on "360p" and back."""
    lines = [f"#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:{TD_S}\n"]
    if not ended:
        lines.append(
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=24.0,HOLD-BACK=12.0,PART-HOLD-BACK=1.501\n"
            f"#EXT-X-PART-INF:PART-TARGET={PT_S}\n"
        )
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:2\n#EXT-X-INDEPENDENT-SEGMENTS\n")
    lines.append('#EXT-X-MAP:URI="init-0.mp4"\n')
    if skipped:
        lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n")
    for msn in range(first + skipped, last + 1):
        has_parts = not ended and msn > last - 3
        lines.append(segment_lines(msn, has_parts) + f"#EXTINF:{SEGMENT_S:.5f},\n{msn}.m4s\n")
    if ended:
        return "".join([*lines, "#EXT-X-ENDLIST\n"])
    if open_parts:
        lines.append(segment_lines(last + 1, False) + part_lines(last + 1, open_parts))
    lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{last + 1}.{open_parts}.m4s"\n')
    report = f"LAST-MSN={last + 1},LAST-PART={open_parts - 1}" if open_parts else f"LAST-MSN={last},LAST-PART=7"
    return "".join([*lines, f'#EXT-X-RENDITION-REPORT:URI="../360p/index.m3u8",{report}\n'])


def rules(violations: list[conformance.Violation]) -> set[str]:
    return {violation.rule for violation in violations}


def swap(old: str, new: str, count: int = -1) -> Mutation:
    def mutate(text: str) -> str:
        assert old in text, f"the mutation does not fit: {old}"
        return text.replace(old, new, count)

    return mutate


def cut(start: str, end: str) -> Mutation:
    """Takes out everything from `start` up to `end`."""

    def mutate(text: str) -> str:
        at = text.index(start)
        return text[:at] + text[text.index(end, at) :]

    return mutate


GAP_SEGMENT = "".join(
    f'#EXT-X-PART:DURATION={PT_S:.5f},URI="31.{index}.m4s",GAP=YES{",INDEPENDENT=YES" if not index else ""}\n'
    for index in range(PARTS)
)


@pytest.mark.parametrize(
    "text",
    [
        playlist(),
        playlist(open_parts=0),
        playlist(0, 0, open_parts=1),
        playlist(ended=True),
        playlist(skipped=5),
        swap("#EXTINF:4.00000,\n31.m4s", "#EXT-X-GAP\n#EXTINF:4.00000,\n31.m4s")(
            swap(part_lines(31, PARTS), GAP_SEGMENT)(playlist())
        ),
    ],
    ids=["open", "whole", "first part", "ended", "delta", "gap"],
)
def test_a_good_media_playlist_passes(text: str) -> None:
    assert conformance.check_media_playlist(text) == []


MEDIA_MUTATIONS: list[tuple[str, Mutation]] = [
    ("4.4.1.1-extm3u", swap("#EXTM3U\n", "")),
    ("4.4.3-once", swap("#EXT-X-MEDIA-SEQUENCE:20\n", "#EXT-X-MEDIA-SEQUENCE:20\n#EXT-X-MEDIA-SEQUENCE:20\n")),
    ("4.4.3.2-before", swap("20.m4s\n", "20.m4s\n#EXT-X-MEDIA-SEQUENCE:20\n")),
    ("4.4.3.3-before", swap("20.m4s\n", "20.m4s\n#EXT-X-DISCONTINUITY-SEQUENCE:2\n")),
    ("4.2-attributes", swap("PART-TARGET=0.5", "PART-TARGET=0.5,")),
    ("4.2-attributes", swap('URI="32.0.m4s"', 'URI="32.0.m4s",URI="32.0.m4s"')),
    ("4.2-integer", swap("TARGETDURATION:4", "TARGETDURATION:4.0")),
    ("4.4.3.1-missing", swap("#EXT-X-TARGETDURATION:4\n", "")),
    ("4.4.3.1-extinf", swap("#EXTINF:4.00000,\n20", "#EXTINF:4.50000,\n20")),
    ("4.4.4.1-extinf", swap("#EXTINF:4.00000,\n20", "#EXTINF:four,\n20")),
    ("4.4.4.1-missing", swap("#EXTINF:4.00000,\n20", "20")),
    ("8-version", swap("VERSION:9", "VERSION:5")),
    ("8-version", swap("VERSION:9\n", "VERSION:7\n#EXT-X-GAP\n")),
    ("4.4.4.6-date", swap("06:01:20.000Z", "06:01:20.000")),
    ("apple-8.4-date", swap("#EXT-X-PROGRAM-DATE-TIME:2026-11-24T06:01:20.000Z\n", "")),
    ("4.4.4.6-date-jump", swap("06:01:24.000Z", "06:01:24.100Z")),
    ("6.2.1-date-overlap", swap("#EXT-X-PROGRAM-DATE-TIME:2026-11-24T06:01:28.000Z",
                                "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-11-24T06:01:26.000Z")),
    ("3.1.2-map", swap('#EXT-X-MAP:URI="init-0.mp4"\n', "")),
    ("4.4.4.5-uri", swap('#EXT-X-MAP:URI="init-0.mp4"', '#EXT-X-MAP:BYTERANGE="8@0"')),
    ("4.4.4.3-map", swap("20.m4s\n", '20.m4s\n#EXT-X-MAP:URI="init-1.mp4"\n')),
    ("4.4.4.3-place", swap(',INDEPENDENT=YES\n#EXT-X-PART:', ',INDEPENDENT=YES\n#EXT-X-DISCONTINUITY\n#EXT-X-PART:')),
    ("4.4.3.7-missing", swap("#EXT-X-PART-INF:PART-TARGET=0.5\n", "")),
    ("4.4.3.7-part-target", swap("PART-TARGET=0.5", "PART-TARGET=0")),
    ("4.4.4.9-attributes", swap('#EXT-X-PART:DURATION=0.50000,URI="32.1.m4s"', '#EXT-X-PART:URI="32.1.m4s"')),
    ("4.4.4.9-place", swap(",\n31.m4s", ',\n#EXT-X-PART:DURATION=0.5,URI="31.8.m4s"\n31.m4s')),
    ("4.4.4.9-part-long", swap('0.50000,URI="32.1.m4s"', '0.50001,URI="32.1.m4s"')),
    ("4.4.4.9-part-short", swap('0.50000,URI="32.1.m4s"', '0.42000,URI="32.1.m4s"')),
    ("4.4.4.9-sum", swap('0.50000,URI="31.7.m4s"', '0.45000,URI="31.7.m4s"')),
    ("4.4.2.1-independent", swap('URI="31.0.m4s",INDEPENDENT=YES', 'URI="31.0.m4s"')),
    ("6.2.1-part-uri", swap('URI="32.1.m4s"', 'URI="32.0.m4s"')),
    ("4.4.4.7-gap", swap(part_lines(31, PARTS), GAP_SEGMENT)),
    ("4.4.4.7-gap-parts", swap("#EXTINF:4.00000,\n31.m4s", "#EXT-X-GAP\n#EXTINF:4.00000,\n31.m4s")),
    ("4.4.3.8-block", swap("CAN-BLOCK-RELOAD=YES,", "")),
    ("4.4.3.8-hold-back", swap(",HOLD-BACK=12.0", ",HOLD-BACK=11.9")),
    ("apple-14.3-part-hold-back", swap("PART-HOLD-BACK=1.501", "PART-HOLD-BACK=1.25")),
    ("4.4.3.8-skip-until", swap("CAN-SKIP-UNTIL=24.0", "CAN-SKIP-UNTIL=23.9")),
    ("4.4.4.9-part-old", swap("06:01:48.000Z\n", "06:01:48.000Z\n" + part_lines(27, PARTS))),
    ("4.4.4.9-part-gone", swap(part_lines(31, PARTS), "")),
    ("4.4.5.3-missing", cut("#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION")),
    ("4.4.5.3-twice", swap("#EXT-X-PRELOAD-HINT", '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="33.0.m4s"\n#EXT-X-PRELOAD-HINT')),
    ("4.4.5.3-type", swap("TYPE=PART", "TYPE=SEGMENT")),
    ("4.4.5.3-uri", swap('TYPE=PART,URI="32.3.m4s"', 'TYPE=PART,URI="32.2.m4s"')),
    ("4.4.5.4-attributes", swap(",LAST-PART=2", "")),
    ("4.4.5.4-relative", swap("../360p", "https://other.example/360p")),
    ("4.4.3.5-vod", swap("#EXT-X-PART-INF", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-PART-INF")),
    ("mbashara-empty", cut("#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-PRELOAD-HINT")),
    ("4.4.5.3-ended", swap("#EXT-X-RENDITION", "#EXT-X-ENDLIST\n#EXT-X-RENDITION")),
    ("4.4.3.4-open", swap("#EXT-X-RENDITION", "#EXT-X-ENDLIST\n#EXT-X-RENDITION")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "mutate"), MEDIA_MUTATIONS, ids=[rule for rule, _ in MEDIA_MUTATIONS])
def test_a_broken_media_playlist_is_caught(rule: str, mutate: Mutation) -> None:
    assert rule in rules(conformance.check_media_playlist(mutate(playlist())))


DELTA_TAG_MUTATIONS: list[tuple[str, Mutation]] = [
    ("8-version", swap("VERSION:9", "VERSION:8")),
    ("4.4.5.2-skipped", swap("SKIPPED-SEGMENTS=5", "SKIPPED-SEGMENTS=0")),
    ("4.4.5.2-place", swap("25.m4s\n", "25.m4s\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n")),
    ("4.4.3.2-before", swap("SKIPPED-SEGMENTS=5\n", "SKIPPED-SEGMENTS=5\n#EXT-X-MEDIA-SEQUENCE:20\n")),
    ("3.1.2-map", swap('#EXT-X-MAP:URI="init-0.mp4"\n', "")),
]


@pytest.mark.parametrize(("rule", "mutate"), DELTA_TAG_MUTATIONS, ids=[rule for rule, _ in DELTA_TAG_MUTATIONS])
def test_a_broken_delta_is_caught(rule: str, mutate: Mutation) -> None:
    assert rule in rules(conformance.check_delta(playlist(open_parts=1), mutate(playlist(skipped=5))))


def test_a_violation_names_its_line() -> None:
    text = swap('0.50000,URI="32.1.m4s"', '0.60000,URI="32.1.m4s"')(playlist())
    (violation,) = conformance.check_media_playlist(text)
    assert "32.1.m4s" in text.split("\n")[violation.line - 1]
    assert "PART-TARGET" in str(violation)


# --- reloads ---


@pytest.mark.parametrize(
    ("previous", "current", "elapsed_s"),
    [
        (playlist(), playlist(open_parts=4), 0.5),
        (playlist(open_parts=7), playlist(21, 32, open_parts=0), 0.5),
        (playlist(0, 3), playlist(0, 4, open_parts=1), 3.0),
        (playlist(), playlist(20, 32, ended=True), 0.5),
        (playlist(), playlist(), 0.3),
        (playlist(ended=True), playlist(ended=True), 60.0),
    ],
    ids=["part", "segment", "grows", "ends", "same", "stays ended"],
)
def test_a_good_reload_passes(previous: str, current: str, elapsed_s: float) -> None:
    assert conformance.check_reload(previous, current, elapsed_s) == []


RELOADS: list[tuple[str, str, str, float]] = [
    ("6.2.1-target-duration", playlist(), swap("DURATION:4\n", "DURATION:5\n")(playlist()), 0.1),
    ("mbashara-part-target", playlist(), swap("PART-TARGET=0.5", "PART-TARGET=0.6")(playlist()), 0.1),
    ("mbashara-server-control", playlist(), swap("=1.501", "=1.6")(playlist()), 0.1),
    ("6.2.2-media-sequence", playlist(21), playlist(20), 0.1),
    ("6.2.1-lost-end", playlist(20, 31), playlist(20, 30), 0.1),
    ("6.2.1-lost-end", playlist(open_parts=3), playlist(ended=True), 0.1),
    ("6.2.2-discontinuity-sequence", playlist(), swap("SEQUENCE:2", "SEQUENCE:1")(playlist()), 0.1),
    ("6.2.2-discontinuity", playlist(), swap("SEQUENCE:2", "SEQUENCE:3")(playlist()), 0.1),
    ("4.4.3.4-changed", playlist(ended=True), playlist(), 0.1),
    ("4.4.3.4-changed", playlist(ended=True), playlist(20, 32, ended=True), 0.1),
    ("6.2.2-short", playlist(20, 31), playlist(31, 31), 0.1),
    ("apple-8.11-segments", playlist(20, 31), playlist(27, 31), 0.1),
    ("4.4.3.5-removed", swap("#EXT-X-PART-INF", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF")(playlist()),
     playlist(21), 0.1),
    ("6.2.1-segment", playlist(), swap("#EXTINF:4.00000,\n22", "#EXTINF:4.00100,\n22")(playlist()), 0.1),
    ("6.2.1-segment", playlist(), swap("\n22.m4s", "\n22b.m4s")(playlist()), 0.1),
    ("6.2.1-segment", playlist(), swap("06:01:28.000", "06:01:28.001")(playlist()), 0.1),
    ("6.2.1-segment", playlist(), swap("init-0", "init-1")(playlist()), 0.1),
    ("6.2.1-part", playlist(), swap('0.50000,URI="32.1', '0.49000,URI="32.1')(playlist()), 0.1),
    ("6.2.1-part", playlist(), swap('URI="32.1.m4s"', 'URI="32.1.m4s",INDEPENDENT=YES')(playlist()), 0.1),
    ("6.2.1-part", swap('#EXT-X-PART:DURATION=0.50000,URI="31.7.m4s"\n', "")(playlist()), playlist(), 0.1),
    ("6.2.1-part-removed", playlist(open_parts=3), playlist(open_parts=2), 0.1),
    ("6.2.1-reopened", playlist(20, 32, open_parts=0), playlist(20, 31, open_parts=7), 0.1),
    ("6.2.2-part-late", playlist(), playlist(), 1.2),
    ("6.2.2-segment-late", playlist(open_parts=1), playlist(open_parts=6), 6.6),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "previous", "current", "elapsed_s"), RELOADS, ids=[case[0] for case in RELOADS])
def test_a_forbidden_change_is_caught(rule: str, previous: str, current: str, elapsed_s: float) -> None:
    assert rule in rules(conformance.check_reload(previous, current, elapsed_s))


# --- renditions ---


def pair(mutate: Mutation = str) -> dict[str, str]:
    return {"source": playlist(), "360p": mutate(playlist().replace("../360p", "../source"))}


def test_good_renditions_pass() -> None:
    assert conformance.check_renditions(pair()) == []
    one_part_behind = pair(lambda _: playlist(open_parts=2).replace("../360p", "../source"))
    reported = swap("LAST-PART=1", "LAST-PART=2")(one_part_behind["360p"])
    assert conformance.check_renditions({**one_part_behind, "360p": reported}) == []


RENDITION_MUTATIONS: list[tuple[str, Mutation]] = [
    ("6.2.4-target-duration", swap("DURATION:4\n", "DURATION:5\n")),
    ("4.4.3.8-same", swap("CAN-SKIP-UNTIL=24.0", "CAN-SKIP-UNTIL=30.0")),
    ("mbashara-part-target-same", swap("PART-TARGET=0.5", "PART-TARGET=0.51")),
    ("6.2.4-discontinuity", swap("SEQUENCE:2", "SEQUENCE:3")),
    ("6.2.4-date", swap("#EXT-X-PROGRAM-DATE-TIME:2026-11-24T06:01:28.000Z\n", "")),
    ("apple-8.15-boundary", swap("06:01:28.000", "06:01:28.060")),
    ("apple-8.15-boundary", swap("#EXTINF:4.00000,\n22", "#EXTINF:3.94000,\n22")),
    ("appendix-b-report", lambda text: text[: text.index("#EXT-X-RENDITION")]),
    ("4.4.5.4-true", swap("LAST-PART=2", "LAST-PART=0")),
    ("4.4.5.4-true", swap("LAST-MSN=32,LAST-PART=2", "LAST-MSN=33,LAST-PART=1")),
    ("4.4.5.4-true", swap("LAST-MSN=32,LAST-PART=2", "LAST-MSN=31,LAST-PART=7")),
    ("4.4.5.4-self", swap("../source", "../360p")),
]


@pytest.mark.parametrize(("rule", "mutate"), RENDITION_MUTATIONS, ids=[rule for rule, _ in RENDITION_MUTATIONS])
def test_renditions_that_disagree_are_caught(rule: str, mutate: Mutation) -> None:
    assert rule in rules(conformance.check_renditions(pair(mutate)))


# --- delta updates ---


def test_a_merged_delta_is_the_full_playlist() -> None:
    merged = conformance.apply_delta(playlist(open_parts=2), playlist(skipped=5))
    assert conformance.check_delta(playlist(open_parts=2), playlist(skipped=5), playlist()) == []
    assert [s.facts() for s in conformance.parse(merged).listed] == [
        s.facts() for s in conformance.parse(playlist()).listed
    ]


def test_a_delta_over_a_discontinuity_keeps_numbers_and_map() -> None:
    broken = swap("23.m4s\n", '23.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="init-1.mp4"\n')
    delta = swap('"init-0.mp4"', '"init-1.mp4"')(playlist(skipped=5))
    full = broken(playlist(open_parts=2))
    assert conformance.check_delta(full, delta, broken(playlist())) == []
    last = conformance.parse(conformance.apply_delta(full, delta)).segments[-1]
    assert (last.discontinuity, last.map_uri) == (3, "init-1.mp4")


def test_a_head_that_moved_takes_its_map_along() -> None:
    merged = conformance.parse(conformance.apply_delta(playlist(), playlist(22, 33, skipped=3)))
    assert {segment.map_uri for segment in merged.segments} == {"init-0.mp4"}
    assert [segment.msn for segment in merged.segments] == list(range(22, 34))


@pytest.mark.parametrize(
    ("rule", "previous", "delta", "full"),
    [
        ("6.2.5.1-no-skip", playlist(), playlist(), None),
        ("6.2.5.1-boundary", playlist(), playlist(skipped=7), None),
        ("6.2.5.1-merge", playlist(22), playlist(20, skipped=5), None),
        ("6.2.5.1-same", playlist(), playlist(skipped=5), playlist(open_parts=4)),
        ("6.2.5.1-same", playlist(), playlist(skipped=5), swap("LAST-PART=2", "LAST-PART=1")(playlist())),
        ("6.2.5.1-same", playlist(), playlist(skipped=5), swap("\n22.m4s", "\n22b.m4s")(playlist())),
    ],
)
def test_a_wrong_delta_is_caught(rule: str, previous: str, delta: str, full: str | None) -> None:
    assert rule in rules(conformance.check_delta(previous, delta, full))


def test_a_short_playlist_needs_no_delta() -> None:
    assert conformance.check_delta(playlist(20, 25), playlist(20, 25)) == []


# --- multivariant ---

MULTIVARIANT = """#EXTM3U
#EXT-X-VERSION:6
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Kiswahili",LANGUAGE="sw",DEFAULT=YES,AUTOSELECT=YES,URI="01/a/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=180000,AVERAGE-BANDWIDTH=150000,CODECS="avc1.42c00c,mp4a.40.2",RESOLUTION=256x144,FRAME-RATE=12.500,AUDIO="audio"
01/144p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=4500000,AVERAGE-BANDWIDTH=4200000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000,AUDIO="audio"
01/source/index.m3u8
"""


def test_a_good_multivariant_playlist_passes() -> None:
    assert conformance.check_multivariant(MULTIVARIANT, for_cellular=True) == []


MULTIVARIANT_MUTATIONS: list[tuple[str, Mutation]] = [
    ("4.4.1.1-extm3u", swap("#EXTM3U\n", "")),
    ("4.1-mixed", swap("#EXT-X-VERSION:6\n", "#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n")),
    ("4.2-attributes", swap('AUDIO="audio"', 'AUDIO="audio",')),
    ("4.4.6.2-none", lambda text: text[: text.index("#EXT-X-STREAM-INF")]),
    ("4.4.6.1-attributes", swap('NAME="Kiswahili",', "")),
    (
        "4.4.6.1.1-name",
        lambda text: text.replace("#EXT-X-STREAM", text.split("\n")[2] + "\n#EXT-X-STREAM", 1),
    ),
    ("apple-8.10-autoselect", swap(",AUTOSELECT=YES", "")),
    ("apple-2.12-language", swap('LANGUAGE="sw",', "")),
    ("apple-9.7-separate", swap(',URI="01/a/index.m3u8"', "")),
    ("4.4.6.2-uri", swap("01/144p/index.m3u8\n", "")),
    ("appendix-b-authority", swap("01/144p", "https://other.example/144p")),
    ("apple-9-attributes", swap(",FRAME-RATE=30.000", "")),
    ("4.4.6.2-bandwidth", swap("BANDWIDTH=180000", "BANDWIDTH=140000", 1)),
    ("4.4.6.2-group", swap(',AUDIO="audio"', ',AUDIO="sauti"')),
    ("4.4.6.2-codecs", swap("avc1.64001f,mp4a.40.2", "avc1.64001f")),
    ("apple-9.21-cellular", swap("BANDWIDTH=180000", "BANDWIDTH=200000")),
]


@pytest.mark.parametrize(("rule", "mutate"), MULTIVARIANT_MUTATIONS, ids=[rule for rule, _ in MULTIVARIANT_MUTATIONS])
def test_a_broken_multivariant_playlist_is_caught(rule: str, mutate: Mutation) -> None:
    assert rule in rules(conformance.check_multivariant(mutate(MULTIVARIANT), for_cellular=True))


def test_bitrates_against_stream_inf() -> None:
    steady = [(500_000, 4.0)] * 10
    assert conformance.check_bitrates(1_000_000, 1_000_000, steady) == []
    assert rules(conformance.check_bitrates(1_000_000, 1_000_000, [*steady, (700_000, 4.0)])) == {"apple-1.28-peak"}
    assert rules(conformance.check_bitrates(1_000_000, 900_000, steady)) == {"apple-1.29-mean"}


# --- bytes ---

TIMESCALE = 1000


def video_part(sequence: int, decode_time: int, is_key: bool, frames: int = 5, frame_ticks: int = 100) -> bytes:
    samples: list[int] = []
    for index in range(frames):
        flags = fmp4.KEY_SAMPLE if is_key and not index else fmp4.DELTA_SAMPLE
        samples += [frame_ticks, 10, flags, 0]
    return fmp4.video_fragment(sequence, decode_time, samples, [b"0123456789"] * frames)


def segment_and_parts() -> tuple[conformance.Segment, dict[str, bytes]]:
    segment = conformance.parse(playlist()).segments[-1]
    parts = {
        part.uri: video_part(index, 8000 + index * 500, is_key=not index) for index, part in enumerate(segment.parts)
    }
    return segment, parts


def check_bytes(parts: dict[str, bytes], data: bytes | None = None, expected: int = 8000) -> set[str]:
    segment, _ = segment_and_parts()
    whole = b"".join(parts.values()) if data is None else data
    clock = conformance.Clock(TIMESCALE, expected)
    found, after = conformance.check_segment(segment, whole, parts, clock, is_video=True)
    assert found or after.next_decode_time == 12_000
    return rules(found)


def test_a_good_segment_passes() -> None:
    assert check_bytes(segment_and_parts()[1]) == set()


@pytest.mark.parametrize(
    ("rule", "uri", "data"),
    [
        ("apple-7.3-tfdt", "31.3.m4s", video_part(3, 9501, False)),
        ("apple-8.1-duration", "31.3.m4s", video_part(3, 9500, False, frame_ticks=140)),
        ("4.4.4.9-idr", "31.0.m4s", video_part(0, 8000, False)),
        ("4.4.4.9-idr", "31.3.m4s", video_part(3, 9500, True)),
        ("3.1.2-fragments", "31.3.m4s", video_part(3, 9500, False)[8:]),
        ("3.1.2-whole", "31.7.m4s", video_part(7, 11500, False)[:-1]),
        ("cmaf-7.5.16-base", "31.3.m4s", video_part(3, 9500, False).replace(
            b"tfhd\x00\x02", b"tfhd\x00\x00")),
        ("cmaf-7.5.16-tfdt", "31.3.m4s", video_part(3, 9500, False).replace(b"tfdt", b"tfdx")),
        ("cmaf-7.3.3-track", "31.3.m4s", video_part(3, 9500, False).replace(b"traf", b"trax")),
    ],
    ids=["tfdt", "duration", "not key", "key", "headless", "cut off", "base", "no tfdt", "no traf"],
)  # fmt: skip
def test_broken_bytes_are_caught(rule: str, uri: str, data: bytes) -> None:
    parts = {**segment_and_parts()[1], uri: data}
    assert rule in check_bytes(parts)


def test_a_segment_that_is_not_its_parts_is_caught() -> None:
    _, parts = segment_and_parts()
    other = b"".join(parts.values()).replace(b"0123456789", b"0123456780", 1)
    assert check_bytes(parts, other) == {"3.2-parts"}


def test_a_gap_to_the_segment_before_is_caught() -> None:
    assert check_bytes(segment_and_parts()[1], expected=7900) == {"apple-7.3-tfdt"}


def init(sample_entry: bytes = b"avc1", brand: bytes = b"cmfc", traks: int = 1) -> bytes:
    trak = fmp4.box(b"trak", fmp4.box(b"stsd", struct.pack(">II", 0, 1), fmp4.box(sample_entry)))
    moov = fmp4.box(b"moov", trak * traks, fmp4.box(b"mvex"))
    return fmp4.box(b"ftyp", b"iso6", bytes(4), b"iso6", brand) + moov


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (init(), set()),
        (init(brand=b"mp42"), {"cmaf-7.2-brand"}),
        (init(traks=2), {"cmaf-7.3.2-track"}),
        (init(b"avc3"), {"apple-1.10-sample-entry"}),
        (init()[24:], {"cmaf-7.3.1-header"}),
    ],
    ids=["good", "brand", "two tracks", "avc3", "no ftyp"],
)
def test_initialization_segments(data: bytes, expected: set[str]) -> None:
    assert rules(conformance.check_init(data)) == expected
