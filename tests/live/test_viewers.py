"""Viewers counted by the real edge's word: they come, they are as many as they are, they leave, the peak stays."""

import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from core.broadcasts import viewers as kept
from core.broadcasts.viewers import Viewers
from core.channels import find_channel
from core.database import open_engine, transaction
from core.tables import Broadcast
from mbashara import viewers
from mbashara.settings import Settings
from tests.up import Up, get, until

SLUG, AIR = "tazama", "01jdx00000000000000tazama0"
PLAYLIST = f"/live/{SLUG}/{AIR}"


@pytest.fixture
def engine(mbashara_up: Up) -> Iterator[Engine]:
    """A channel on the air, as rows and files say; a playlist's reload needs no more."""
    mbashara_up.channel_add(SLUG)
    engine = open_engine(Settings(data=mbashara_up.data).sqlalchemy_url)
    with transaction(engine) as session:
        channel = find_channel(session, SLUG)
        assert channel is not None
        names = {"title_sw": "Kikao", "title_en": "Sitting", "visibility": "unlisted"}
        session.add(
            Broadcast(
                id=AIR, air_id=AIR, institution_id=channel.institution_id, channel_id=channel.id, state="live",
                started_at=datetime.now(UTC), **names,
            )
        )  # fmt: skip
    folder = mbashara_up.run / "live" / SLUG
    for rendition in ("source", "low-audio"):
        (folder / AIR / rendition).mkdir(parents=True)
        (folder / AIR / rendition / "index.m3u8").write_text("#EXTM3U\n")
    yield engine
    shutil.rmtree(folder)
    with transaction(engine) as session:
        session.get_one(Broadcast, AIR).state = "ended"
    engine.dispose()


def metrics(up: Up) -> str:
    return get(f"{up.http_url}/metrics")[1].decode()


def peak_of(engine: Engine) -> tuple[int, int | None, bool] | None:
    with transaction(engine) as session:
        found = kept.peak(session, AIR)
        return None if found is None else (found.viewers, found.sound_only, found.is_least)


def ask(up: Up, target: str, agent: str, address: str = "127.0.0.1") -> int:
    """One request from an address of this machine; its status."""
    port = Settings(data=up.data, http=up.http_url.removeprefix("http://")).http_address.port
    with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address, 0)) as connection:
        lines = (f"GET {target} HTTP/1.1", "Host: x", f"User-Agent: {agent}", "Connection: close", "", "")
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.makefile("rb").readline().split()[1])


def test_as_many_as_watch_are_counted_and_those_who_leave_are_not(mbashara_up: Up, engine: Engine) -> None:
    settings = Settings(data=mbashara_up.data)

    def now() -> Viewers | None:
        return (viewers.read_file(settings) or {}).get(SLUG)

    def come() -> bool:  # each of them asks again and again, for sound too
        for number in range(20):  # players of ours behind one address
            assert ask(mbashara_up, f"{PLAYLIST}/source/index.m3u8?w=p{number}", "Firefox") == 200
            assert ask(mbashara_up, f"{PLAYLIST}/low-audio/index.m3u8?w=p{number}", "Firefox") == 200
        for number in range(2, 7):  # others, each with an address of its own, of sound alone
            assert ask(mbashara_up, f"{PLAYLIST}/low-audio/index.m3u8", "VLC", f"127.0.0.{number}") == 200
        return now() == Viewers(25, 5)

    for target in (f"{PLAYLIST}/none/index.m3u8", f"{PLAYLIST}/source/5.m4s"):
        assert ask(mbashara_up, target, "Scanner") == 404
    ask(mbashara_up, f"/live/{SLUG}/state.json", "Scanner")  # media writes it when it has heard of the channel
    until(come, "not counted", step_s=0.5)
    told = [
        f'mbashara_viewers{{channel="{SLUG}",kind="{kind}"}} {many}'
        for kind, many in (("picture", 20.0), ("sound", 5.0))
    ]
    until(lambda: come() and all(one in metrics(mbashara_up) for one in told), "metrics say else")

    def stay() -> bool:
        for number in range(3):
            ask(mbashara_up, f"{PLAYLIST}/source/index.m3u8?w=p{number}", "Firefox")
        return now() == Viewers(3)

    until(stay, "those who left are still counted", step_s=1)
    until(lambda: stay() and peak_of(engine) == (25, 5, False), "the peak is not kept", step_s=1)
    with transaction(engine) as session:
        assert kept.series(session, AIR)[0].viewers <= 25
