"""Dry runs for real: the server's own ffmpeg, RTMP, ladder, edge and disk; and that nothing of it stays."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, select

from core.broadcasts import dry_runs
from core.broadcasts.dry_runs import Limits, Reason, Step
from core.channels import find_channel
from core.database import open_engine, transaction
from core.ids import RANDOM_BYTES
from core.tables import DryRun, Recording
from mbashara.settings import Settings
from tests.live import media_files
from tests.up import Up, get, is_over, until


@pytest.fixture(autouse=True)
def first(mbashara_up: Up) -> Iterator[None]:
    """Rungs are asked for."""
    with mbashara_up.airing_first():
        yield


@contextmanager
def engine_of(up: Up) -> Iterator[Engine]:
    engine = open_engine(Settings(data=up.data).sqlalchemy_url)
    try:
        yield engine
    finally:
        engine.dispose()


def begin(engine: Engine, slug: str, lasts_s: float = 120) -> str:
    """As the console does it."""
    with transaction(engine) as session:
        channel = find_channel(session, slug)
        assert channel is not None
        limits = Limits(2, timedelta(seconds=lasts_s))
        return dry_runs.begin(
            session, channel, None, limits, has_feed=False, actor="asha", now=datetime.now(UTC),
            randomness=secrets.token_bytes(RANDOM_BYTES),
        ).broadcast_id  # fmt: skip


def look(engine: Engine, identity: str) -> DryRun:
    with transaction(engine) as session:
        return session.get_one(DryRun, identity)


def good(run: DryRun) -> set[str]:
    return {step for step, found in run.findings.items() if found["is_good"]}


def encoders(up: Up) -> list[psutil.Process]:
    """ffmpegs that the work process started, by their bars."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "smptehdbars" in line and up.rtmp_url in line:
            found.append(process)
    return found


def state_of(up: Up, path: str) -> int:
    return get(f"{up.http_url}/live/{path}/state.json")[0]


def wait_gone(up: Up, engine: Engine, run: DryRun) -> None:
    """Files, rows, media's memory."""
    folder = up.data / "recordings" / run.broadcast_id

    def is_gone() -> bool:
        with transaction(engine) as session:
            rows = session.scalars(select(Recording.id).where(Recording.broadcast_id == run.broadcast_id)).all()
        return not rows and not folder.exists() and state_of(up, str(run.path)) == 404

    until(is_gone, "there is still something of it")
    assert not (up.run / "live" / str(run.path)).exists()


def test_the_whole_way_is_seen_and_an_encoder_goes_first(mbashara_up: Up, tmp_path: Path) -> None:
    up = mbashara_up
    keys = up.channel_add("jaribu")
    feed = media_files.make_flv(tmp_path / "feed.flv", 20)
    with engine_of(up) as engine:
        identity = begin(engine, "jaribu")

        def is_seen() -> bool:
            found = look(engine, identity)
            return good(found) == set(Step) and found.findings[Step.EDGE]["files"] == 10

        until(is_seen, "not all of the way was seen", 110)
        run = look(engine, identity)
        assert run.findings[Step.LADDER]["wanted"] == run.findings[Step.LADDER]["found"] == 5
        assert 50 < run.findings[Step.FEED]["kbits"] < 3500
        assert 0 <= run.findings[Step.EDGE]["delay_s"] < 10
        assert (up.data / "recordings" / identity / "source").exists() and state_of(up, str(run.path)) == 200
        assert '"offline"' in get(f"{up.http_url}/live/jaribu/state.json")[1].decode()
        assert identity not in {one["id"] for one in up.recordings()} and len(encoders(up)) == 1
        assert get(f"{up.http_url}/en/recordings/{identity}")[0] == 404
        for page in ("/en/?jaribio", "/sw/?jaribio", f"/en/live/{run.path}"):
            body = get(f"{up.http_url}{page}")[1].decode()
            assert "Dry run:" not in body and "Jaribio:" not in body

        encoder = media_files.publish(feed, f"{up.rtmp_url}/{keys.primary_key}", is_endless=True)
        try:
            until(lambda: look(engine, identity).reason == Reason.FEED, "goes on beside an encoder")
            until(lambda: '"live"' in get(f"{up.http_url}/live/jaribu/state.json")[1].decode(), "not on the air")
            until(lambda: encoders(up) == [], "its own encoder goes on")
            wait_gone(up, engine, run)
        finally:
            encoder.kill()
            encoder.wait()


def test_a_killed_process_leaves_nothing_running(mbashara_up: Up) -> None:
    up = mbashara_up
    up.channel_add("uliouawa")
    with engine_of(up) as engine:
        identity = begin(engine, "uliouawa")
        until(lambda: "recording" in good(look(engine, identity)), "never began")
        child = encoders(up)[0]
        with up.kept_away("work"):  # a new one would end what the killed one has left
            until(lambda: is_over(child), "ffmpeg goes on")
        until(lambda: look(engine, identity).reason == Reason.RESTART, "not ended")
        wait_gone(up, engine, look(engine, identity))
    up.wait_healthy()


def test_it_ends_by_itself(mbashara_up: Up) -> None:
    up = mbashara_up
    up.channel_add("jaribio-mwisho")
    with engine_of(up) as engine:
        for lasts_s in (5, 20):  # a busy machine may take longer to begin
            identity = begin(engine, "jaribio-mwisho", lasts_s)
            until(lambda identity=identity: look(engine, identity).state == "ended", "no end")  # type: ignore[misc]
            run = look(engine, identity)
            if "feed" in good(run):
                break
        assert run.reason == Reason.TIME and "feed" in good(run) and encoders(up) == []
        wait_gone(up, engine, run)
