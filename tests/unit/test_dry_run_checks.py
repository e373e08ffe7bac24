"""What a dry run says of a way that is whole, and of one where something is missing at each of its steps."""

from datetime import UTC, datetime
from typing import Any

import pytest

from core.broadcasts.dry_runs import Step
from mbashara.dry_run_checks import Checks

NOW = datetime(2026, 11, 28, 10, 0, 12, tzinfo=UTC)
NAMES = ("source", "source-audio", "360p", "144p", "low-audio")
FEED: dict[str, Any] = {
    "tracks": [{"kind": "audio"}, {"kind": "video"}], "measures": {"frame_rate": 25.1, "received_bps": 2.5e6},
    "issues": [{"type": "x", "level": "warning"}],
}  # fmt: skip


def files(look: int) -> dict[str, bytes]:
    """The edge at a look: a segment of 4 s from 10:00:00 on, and another part each time."""
    variants = "".join(f"#EXT-X-STREAM-INF:BANDWIDTH=1\na/{name}/index.m3u8\n" for name in NAMES)
    media = (
        '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI="init-0.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-28T10:00:00.000Z\n#EXTINF:4.0,\n0.m4s\n"
    )
    parts = "".join(f'#EXT-X-PART:DURATION=0.5,URI="1.{n}.m4s"\n' for n in range(look))
    found = {"/live/p/index.m3u8": f"#EXTM3U\n{variants}".encode()}
    for name in NAMES:
        found[f"/live/p/a/{name}/index.m3u8"] = f"{media}{parts}".encode()
        found[f"/live/p/a/{name}/0.m4s"] = found[f"/live/p/a/{name}/init-0.mp4"] = b"media"
    return found


def looked(*, lacking: str = "", frozen: bool = False, late: bool = False, feed: dict[str, Any] = FEED) -> Checks:
    """After two looks; `lacking` is left out of the edge's files."""
    for_looks = [files(0 if frozen else look) for look in range(2)]
    at = {"path": 0}
    checks = Checks("p", lambda path: None if lacking and lacking in path else for_looks[at["path"]].get(path), True)
    for look in range(2):
        at["path"] = look
        checks.look(feed, True, NOW.replace(minute=1) if late else NOW)
    return checks


@pytest.mark.parametrize(
    ("more", "bad"),
    [
        ({}, set()),
        ({"frozen": True}, {Step.PLAYLISTS}),
        ({"late": True}, {Step.EDGE}),
        ({"lacking": "144p/0.m4s"}, {Step.EDGE}),
        ({"lacking": "360p/index.m3u8"}, {Step.PLAYLISTS, Step.EDGE}),
        ({"lacking": "/live/p/index"}, {Step.LADDER, Step.PLAYLISTS, Step.EDGE}),
        ({"feed": {**FEED, "tracks": [{"kind": "video"}]}}, {Step.FEED}),
        ({"feed": {**FEED, "measures": {"frame_rate": 12, "received_bps": 1}}}, {Step.FEED}),
        ({"feed": {**FEED, "issues": [{"type": "noAudioStream", "level": "error"}]}}, {Step.FEED}),
    ],
)
def test_each_step_is_seen_good_or_not(more: dict[str, Any], bad: set[Step]) -> None:
    assert set(Step) - looked(**more).good == bad


def test_rungs_that_come_late_are_looked_at_too() -> None:
    """On a slow machine the source alone is offered at first, and is good; that says nothing of what comes after it."""
    source, *rungs = [f"#EXT-X-STREAM-INF:BANDWIDTH=1\na/{name}/index.m3u8\n".encode() for name in NAMES]
    at = {"look": 0, "offered": 1}

    def fetch(path: str) -> bytes | None:
        if path == "/live/p/index.m3u8":
            return b"#EXTM3U\n" + source + b"".join(rungs[: at["offered"] - 1])
        return None if path == "/live/p/a/144p/0.m4s" else files(at["look"]).get(path)

    checks = Checks("p", fetch, has_ladder=True)
    for at["look"] in range(2):
        checks.look(FEED, True, NOW)
    assert checks.good >= {Step.PLAYLISTS, Step.EDGE}
    at["offered"] = len(NAMES)
    for at["look"] in range(2, 4):
        found = checks.look(FEED, True, NOW)
    assert set(Step) - checks.good == {Step.EDGE} and found[Step.EDGE]["lost"] == 1


def test_figures_say_what_is_missing() -> None:
    without = {name: text.replace(b"a/144p/index.m3u8", b"a/720p/index.m3u8") for name, text in files(0).items()}
    found = Checks("p", without.get, has_ladder=True).look(FEED, False, NOW)
    assert found[Step.LADDER] == {"is_good": False, "found": 4, "wanted": 5, "missing": "144p"}
    assert found[Step.FEED] == {"is_good": True, "kbits": 2500, "fps": 25, "errors": 0} and Step.RECORDING not in found
    edge = Checks("p", files(0).get, has_ladder=True).look(None, False, NOW)[Step.EDGE]
    assert edge == {"is_good": True, "files": 10, "lost": 0, "delay_s": 8}
