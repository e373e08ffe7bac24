"""A broadcast led by people, with real encoders: held, put on the air, waited for, ended, taken off, and all of it
through a killed media process and a stopped database."""

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.broadcasts import acts, events, queries
from core.broadcasts.lifecycle import Act, State
from core.broadcasts.plan import Message
from core.broadcasts.queries import Outline
from core.channels import find_channel, limit_key, rotate_key, set_life
from core.database import open_engine, transaction
from core.ids import RANDOM_BYTES
from core.tables import Broadcast
from mbashara import feeds, probe
from mbashara.settings import Settings
from tests.live import media_files
from tests.up import WAIT_TIMEOUT_S, Up, data_folder, get, running, until


@pytest.fixture(scope="module")
def feed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_files.make_flv(tmp_path_factory.mktemp("life") / "feed.flv", 120)


@dataclass(slots=True)
class Desk:
    """An engineer's desk: acts as the console does them, told to media at once."""

    up: Up
    engine: Engine
    slug: str
    key: str
    broadcast: Broadcast | None = None

    @property
    def identity(self) -> str:
        assert self.broadcast is not None
        return self.broadcast.id

    def plan(self) -> None:
        now = datetime.now(UTC)
        with transaction(self.engine) as session:
            channel = find_channel(session, self.slug)
            assert channel is not None
            outline = Outline("Kikao cha Bunge", "Sitting of Parliament", now)
            chance = secrets.token_bytes(RANDOM_BYTES)
            self.broadcast = queries.schedule(session, channel, outline, actor="asha", now=now, randomness=chance)

    def do(self, act: Act, is_told: bool = True) -> None:
        found = self.look()
        with transaction(self.engine) as session:
            acts.act(
                session, found.institution_id, found.id, act, datetime.now(UTC), State(found.state), actor="asha",
                randomness=secrets.token_bytes(RANDOM_BYTES),
            )  # fmt: skip
        if is_told:
            self.tell()

    def say(self, message: Message | None) -> None:
        found = self.look()
        with transaction(self.engine) as session:
            acts.send_message(
                session, found.institution_id, found.id, message, actor="asha", now=datetime.now(UTC)
            )  # fmt: skip
        self.tell()

    def set(self, auto_live: bool) -> None:
        with transaction(self.engine) as session:
            set_life(session, self.slug, auto_live=auto_live, reconnect_window_s=None)
        self.tell()

    def tell(self) -> None:
        """What was committed is in force then."""
        until(lambda: probe.refresh(Settings(data=self.up.data), self.slug), "media can't be told")

    def look(self) -> Broadcast:
        assert self.broadcast is not None
        with transaction(self.engine) as session:
            return queries.find(session, self.broadcast.institution_id, self.broadcast.id)

    def kinds(self) -> list[str]:
        assert self.broadcast is not None
        with transaction(self.engine) as session:
            found = events.list_events(session, self.broadcast.institution_id, self.identity)
            return [one.kind for one in found]

    # What viewers have.

    def state(self) -> dict[str, Any]:
        status, body, _ = get(f"{self.up.http_url}/live/{self.slug}/state.json")
        return dict(json.loads(body)) if status == 200 else {"state": None}

    def wait(self, state: str) -> None:
        until(lambda: self.state()["state"] == state, f"never {state}: {self.state()}")

    def stays(self, state: str, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            assert self.state()["state"] == state
            time.sleep(0.2)

    def multivariant(self) -> int:
        return get(f"{self.up.http_url}/live/{self.slug}/index.m3u8")[0]

    def playlist(self, identity: str = "") -> str:
        url = f"{self.up.http_url}/live/{self.slug}/{identity or self.identity}/source/index.m3u8"
        return get(url)[1].decode()

    def wait_recorded(self) -> str:
        """The recording's playlist, once it is whole."""
        path = self.up.data / "recordings" / self.identity / "source/index.m3u8"
        until(lambda: "#EXT-X-ENDLIST" in path.read_text(), "no ENDLIST")
        return path.read_text()

    def origin_s(self) -> float:
        """When media let the first picture onto the air, by the clock of this machine."""
        ledger = self.up.data / "recordings" / self.identity / "ledger.jsonl"
        return float(json.loads(ledger.read_text().partition("\n")[0])["origin_ms"]) / 1000


@contextmanager
def desk(up: Up, slug: str, auto_live: bool = False) -> Iterator[Desk]:
    keys = up.channel_add(slug)
    engine = open_engine(Settings(data=up.data).sqlalchemy_url)
    try:
        made = Desk(up, engine, slug, keys.primary_key)
        made.set(auto_live)
        made.plan()
        yield made
    finally:
        engine.dispose()


@contextmanager
def publishing(path: Path, one: Desk) -> Iterator["subprocess.Popen[bytes]"]:
    encoder = media_files.publish(path, f"{one.up.rtmp_url}/{one.key}", is_endless=True)
    try:
        yield encoder
    finally:
        encoder.kill()
        encoder.wait()


def wait_connected(one: Desk) -> None:
    """Media has the feed, and for long enough that it would have been on the air."""
    metric = f'mbashara_feed_received_bytes_total{{channel="{one.slug}",role="primary"'
    until(
        lambda: any(
            line.startswith(metric) and float(line.rsplit(" ", 1)[1]) > 200_000
            for line in get(f"{one.up.http_url}/metrics")[1].decode().splitlines()
        ),
        "the feed did not come",
    )


def test_a_broadcast_from_rehearsal_to_its_end(mbashara_up: Up, feed_file: Path) -> None:
    """One story, because each of its facts would need the same story to get there."""
    with desk(mbashara_up, "life") as one:
        one.do(Act.REHEARSE)
        with publishing(feed_file, one) as encoder:
            wait_connected(one)
            assert one.state()["state"] == "offline" and one.multivariant() == 404
            assert not (mbashara_up.data / "recordings" / one.identity).exists()
            one.say(Message("Tunaanza hivi punde", "We begin shortly", "info"))
            assert one.state()["message"] == {"sw": "Tunaanza hivi punde", "en": "We begin shortly", "level": "info"}
            assert encoder.poll() is None

            one.do(Act.GO_LIVE)
            pressed_s = time.time()
            one.wait("live")
            until(
                lambda: one.multivariant() == 200 and "#EXT-X-PART:" in one.playlist(), "nothing to play", step_s=0.02
            )
            assert one.origin_s() - pressed_s < 2 + 0.5, "the next keyframe is 2 s away at most"
            assert one.state()["broadcast"] == one.identity
            until(lambda: one.playlist().count("#EXTINF") >= 2, "no segments")
        one.wait("lost")
        come_with_a_former_key(feed_file, one)
        with publishing(feed_file, one) as encoder:
            one.wait("live")
            assert one.state()["broadcast"] == one.identity
            until(lambda: "#EXT-X-DISCONTINUITY\n" in one.playlist(), "not in the same playlist")

            one.do(Act.END)
            one.stays("live", 3)
            one.do(Act.UNDO_END)
            one.stays("live", 14)
            ended_s = time.monotonic()
            one.do(Act.END)
            one.wait("ended")
            assert 12 < time.monotonic() - ended_s < 40, "ten to undo it, two to be sure, and the rungs' last pictures"
            size = len(one.wait_recorded())
            assert encoder.poll() is None
            until(lambda: one.look().state == "ended", "the row")
            one.stays("ended", 3)
            assert len(one.wait_recorded()) == size and encoder.poll() is None
        until(lambda: {"close", "off_air"} <= set(one.kinds()), "the end is not among the events")
    told = [kind for kind in one.kinds() if kind != "gap"]
    assert told == [
        "schedule", "rehearse", "message", "go_live", "on_air", "feed_lost", "refused", "feed_back", "end", "undo_end",
        "end", *told[11:],
    ]  # fmt: skip
    assert sorted(told[11:]) == ["close", "off_air"]


def test_an_undone_go_live_is_gone_for_viewers_and_kept_on_record(mbashara_up: Up, feed_file: Path) -> None:
    with desk(mbashara_up, "undone", auto_live=True) as one:
        one.do(Act.REHEARSE)
        with publishing(feed_file, one):
            wait_connected(one)
            one.do(Act.GO_LIVE)
            one.wait("live")
            one.do(Act.UNDO_GO_LIVE)
            one.wait("offline")
            assert one.multivariant() == 404
            one.wait_recorded()
            until(lambda: one.playlist() == "" or "EXTINF" not in one.playlist(), "still to be watched")
            one.do(Act.GO_LIVE)
            one.wait("live")
            again = one.look().air_id
            assert one.state()["broadcast"] == again != one.identity
            until(lambda: "#EXT-X-PART:" in one.playlist(again), "nothing to play")


@pytest.mark.parametrize("is_told", [True, False])
def test_media_looks_by_itself_where_nobody_tells_it(mbashara_up: Up, feed_file: Path, is_told: bool) -> None:
    with desk(mbashara_up, f"told-{is_told}".lower()) as one, publishing(feed_file, one):
        wait_connected(one)
        one.do(Act.GO_LIVE, is_told)
        one.wait("live")


def test_a_key_lets_in_from_its_addresses_alone(mbashara_up: Up, feed_file: Path) -> None:
    with desk(mbashara_up, "limited", auto_live=True) as one:
        limit(one, ["10.20.0.0/16"])
        refused = subprocess.run(
            [
                media_files.FFMPEG, "-v", "debug", "-re", "-i", str(feed_file), "-c", "copy", "-f", "flv",
                f"{one.up.rtmp_url}/{one.key}",
            ],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert refused.returncode != 0 and "not allowed from this address" in refused.stderr
        limit(one, ["10.20.0.0/16", "127.0.0.0/8"])
        with publishing(feed_file, one):
            one.wait("live")


def come_with_a_former_key(path: Path, one: Desk) -> None:
    """The encoder was not told that its key is another one now: engineers see it, and the record has it."""
    settings = Settings(data=one.up.data)
    with transaction(one.engine) as session:
        pepper = settings.pepper_file.read_bytes()
        key = rotate_key(session, one.slug, "primary", pepper=pepper, now=datetime.now(UTC))
    one.tell()
    with publishing(path, one) as encoder:
        encoder.wait(WAIT_TIMEOUT_S)
    assert [told["why"] for told in refused_of(one.slug, settings)] == ["key revoked"]
    one.key = key
    with publishing(path, replace(one, key="ufunguo-wa-mgeni")) as stranger:
        stranger.wait(WAIT_TIMEOUT_S)
    assert [told["why"] for told in refused_of("", settings)] == ["unknown key"], "of no channel"


def refused_of(slug: str, settings: Settings) -> list[dict[str, Any]]:
    told = json.loads(probe.get(settings.socket("media-0"), feeds.REFUSED_PATH) or "[]")
    return [one for one in told if one["channel"] == slug]


def limit(one: Desk, addresses: list[str]) -> None:
    with Session(one.engine) as session, session.begin():
        limit_key(session, one.slug, "primary", addresses)
    one.tell()


@pytest.fixture
def own_up() -> Iterator[Up]:
    """A program of its own: its processes are killed and stopped."""
    with data_folder() as data, running(data) as up:
        yield up


def test_a_plan_is_honoured_through_a_killed_media_and_a_stopped_database(own_up: Up, feed_file: Path) -> None:
    with desk(own_up, "dhoruba") as one:
        one.do(Act.GO_LIVE)
        with publishing(feed_file, one):
            one.wait("live")
            until(lambda: one.playlist().count("#EXTINF") >= 2, "no segments")
        one.wait("lost")
        with hung(own_up):
            old = own_up.kill("media-0")
            own_up.wait_restarted("media-0", old)
            with publishing(feed_file, one):
                one.wait("live")
                assert one.state()["broadcast"] == one.identity, "the saved book alone says so"
                until(lambda: "#EXT-X-DISCONTINUITY\n" in one.playlist(), "does not go on")
        own_up.wait_healthy()
        with publishing(feed_file, one):
            one.wait("live")
            one.do(Act.END)
            one.wait("ended")
            one.wait_recorded()
            until(lambda: one.look().state == "ended" and "off_air" in one.kinds(), "rows not caught up")
        until(lambda: "resumed" in one.kinds(), "not told that it was taken up again")


@contextmanager
def hung(up: Up) -> Iterator[None]:
    """The database's processes, ours alone, answer nothing."""
    server = psutil.Process(up.process_id("postgres"))
    family = [server, *server.children()]
    for process in family:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            if process.is_running():
                os.kill(process.pid, signal.SIGCONT)
