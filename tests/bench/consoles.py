"""The engineers' console at a nation's size: 411 institutions, 500 channels, 10,000 broadcasts, 200 consoles open.

python -m tests.bench.consoles [--seconds 20]
"""

import argparse
import asyncio
import re
import secrets
import statistics
import time
import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.audit import Actor
from core.channels import add_channel
from core.database import open_engine, transaction
from core.ids import RANDOM_BYTES, new_id
from core.staff import accounts
from core.staff.accounts import Invitation
from core.staff.permissions import Grant, Role
from core.tables import Broadcast, Channel, Institution
from mbashara.settings import Settings
from tests.bench import feed as feeds
from tests.bench import procs, publisher
from tests.up import Up, data_folder, running

INSTITUTIONS, CHANNELS, BROADCASTS, CONSOLES = 411, 500, 10_000, 200
CHANGING = 6
PICTURES_S = 60
EMAIL, PASSWORD = "mhandisi@ega.example", "maembe saba mezani kwetu"
P99_MS, CPU_PERCENT, CHANGE_S = 150.0, 10.0, 1.0
PAGES = (
    "/sw/console",
    "/sw/console/channels/c7",
    "/sw/console/calendar",
    "/sw/console/channels/c7/dry-run",
    "/sw/staff/institutions",
)


def run(seconds: float) -> list[str]:
    feeds.load()
    with data_folder() as data, running(data, ladder=False) as up:
        keys = _fill(up)
        with httpx.Client(base_url=up.http_url, follow_redirects=True, timeout=30, trust_env=False) as client:
            _log_in(client)
            lines = [_page(client, path, seconds) for path in PAGES]
            lines += asyncio.run(_consoles(up, client.cookies, keys, seconds))
    return lines


def _fill(up: Up) -> list[str]:
    """Returns the channels' primary keys."""
    settings, now = Settings(data=up.data), datetime.now(UTC)
    engine = open_engine(settings.sqlalchemy_url)
    pepper, by = settings.pepper_file.read_bytes(), Actor(None, "bench")
    with transaction(engine) as session:
        session.add_all(
            Institution(slug=f"i{n}", name_sw=f"Taasisi {n}", name_en=f"Body {n}") for n in range(INSTITUTIONS)
        )
        session.flush()
        keys = [_channel(session, n, pepper, now) for n in range(CHANNELS)]
        _broadcasts(session, now)
        role = Grant(Role.ADMIN, None)
        invited = accounts.invite(session, EMAIL, "Mhandisi", role, by=by, pepper=pepper, now=now)
        assert isinstance(invited, Invitation)
        accounts.set_first_password(session, invited.account, PASSWORD, by=by, now=now)
    engine.dispose()
    return keys


def _channel(session: Session, number: int, pepper: bytes, now: datetime) -> str:
    names = {"name_sw": f"Chaneli {number}", "name_en": f"Channel {number}"}
    made = add_channel(session, f"c{number}", **names, pepper=pepper, now=now, institution=f"i{number % INSTITUTIONS}")
    return made.primary_key


def _broadcasts(session: Session, now: datetime) -> None:
    channels = session.query(Channel.id, Channel.institution_id).all()
    rows: list[dict[str, Any]] = []
    for number in range(BROADCASTS):
        channel_id, institution_id = channels[number % CHANNELS]
        at = now + timedelta(hours=number - BROADCASTS + 500)
        identity = new_id(at, secrets.token_bytes(RANDOM_BYTES))
        is_past = at < now
        rows.append(
            {
                "id": identity, "air_id": identity, "institution_id": institution_id, "channel_id": channel_id,
                "state": "ended" if is_past else "scheduled", "title_sw": "Kikao", "title_en": "Sitting",
                "planned_start_at": at, "started_at": at if is_past else None, "created_by": "bench",
            }
        )  # fmt: skip
    session.execute(insert(Broadcast), rows)


def _log_in(client: httpx.Client) -> None:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/sw/staff/login").text)
    assert found
    client.post("/sw/staff/login", data={"csrf": found[1], "email": EMAIL, "password": PASSWORD})


def _page(client: httpx.Client, path: str, seconds: float) -> str:
    """One after the other, as one engineer meets them."""
    times_ms: list[float] = []
    until_s = time.monotonic() + seconds / 2
    while time.monotonic() < until_s or len(times_ms) < 50:
        began = time.perf_counter()
        answer = client.get(path)
        times_ms.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200
    p99_ms = statistics.quantiles(times_ms, n=100)[98]
    verdict = "ok" if p99_ms <= P99_MS else "MISSED"
    return (
        f"page {path}: p50 {statistics.median(times_ms):.0f} ms, p99 {p99_ms:.0f} ms (target {P99_MS:.0f}: {verdict})"
    )


async def _consoles(up: Up, cookies: httpx.Cookies, keys: list[str], seconds: float) -> list[str]:
    """200 consoles open, half of them walls; a channel is on the air, others come and go; then its feed goes away."""
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    opened = [asyncio.create_task(_console(up.http_url, cookie, n)) for n in range(CONSOLES)]
    feeding = asyncio.create_task(_feed(up.rtmp_url, keys[7], seconds + 8))
    changing = asyncio.create_task(_come_and_go(up.rtmp_url, keys[20 : 20 + CHANGING], seconds + 6))
    looking = asyncio.create_task(_look(up.http_url, cookies))
    await asyncio.sleep(6)
    before_s, began = _web_cpu_s(up), time.monotonic()
    await asyncio.sleep(seconds)
    percent = 100 * (_web_cpu_s(up) - before_s) / (time.monotonic() - began)
    gone_s = await feeding
    await changing
    await asyncio.sleep(5)
    for task in (*opened, looking):
        task.cancel()
    told = [await task for task in opened]
    late_s = [next((at - gone_s for at in one if at > gone_s), float("inf")) for one in told]
    return [
        f"{CONSOLES} consoles open, {CHANGING} channels changing: web {percent:.1f} % of a core "
        + _verdict(percent, CPU_PERCENT),
        f"a feed's end on every console: p50 {statistics.median(late_s):.2f} s, last {max(late_s):.2f} s "
        + _verdict(max(late_s), CHANGE_S),
        f"pictures: {await looking} seen, {PICTURES_S} a second asked for",
    ]


async def _look(http_url: str, cookies: httpx.Cookies) -> int:
    """Asks for pictures as the walls do, each for six in ten seconds; returns how many there were."""
    seen = 0
    async with httpx.AsyncClient(base_url=http_url, cookies=cookies, trust_env=False) as client:
        try:
            while True:
                answer = await client.get("/console/stills/c7/primary.jpg")
                seen += answer.headers.get("content-type") == "image/jpeg"
                await asyncio.sleep(1 / PICTURES_S)
        except asyncio.CancelledError:
            return seen


async def _come_and_go(url: str, keys: list[str], seconds: float) -> None:
    """Feeds that are there for some seconds, and away for some."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        await asyncio.to_thread(publisher.publish, [(url, key) for key in keys], feeds.load(), 3)
        await asyncio.sleep(3)


def _web_cpu_s(up: Up) -> float:
    found = procs.read(up.process_id("web"))
    assert found is not None
    return found.cpu_s


def _verdict(figure: float, target: float) -> str:
    return f"(target: at most {target:g}: {'ok' if figure <= target else 'MISSED'})"


async def _feed(url: str, key: str, seconds: float) -> float:
    """Returns when it said that it ends. (Later, on a busy machine, the consoles may know already.)"""
    report = await asyncio.to_thread(publisher.publish, [(url, key)], feeds.load(), seconds)
    return report.left_s


async def _console(http_url: str, cookie: str, number: int) -> list[float]:
    """When each change of c7 came, until it is cancelled: on a wall as the card's HTML, on the channel's page as word
    that it is to be fetched anew."""
    parts = urlsplit(http_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 22)
    is_wall = number % 2 == 1
    path = "/console/events?" + urllib.parse.urlencode({"wall": "sw"} if is_wall else {"channel": "c7"})
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookie}\r\n\r\n".encode())
    event, came = b"", list[float]()
    try:
        while line := await reader.readline():
            if line.startswith(b"event: "):
                event = line[7:].strip()
            elif line.startswith(b"data: ") and _tells(event, line, is_wall):
                came.append(time.monotonic())
    except asyncio.CancelledError:
        pass
    writer.close()
    return came


def _tells(event: bytes, line: bytes, is_wall: bool) -> bool:
    return event == b"cards" and b'<li class=\\"card\\" id=\\"card-c7\\"' in line if is_wall else event == b"changed"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.consoles", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    for line in run(parser.parse_args().seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
