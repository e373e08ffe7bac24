"""Sound levels of real encoders' feeds, through the whole program: on the wall's page, in its pulse and in the API."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.conformance.encoder import stop
from tests.live.media_files import FFMPEG
from tests.up import Up, command, get, until

EMAIL, PASSWORD = "sikio@ega.example", "maembe saba mezani kwetu"
PICTURE = "-re -f lavfi -i testsrc2=size=320x180:rate=25"
CODECS = "-c:v libx264 -preset ultrafast -g 50 -pix_fmt yuv420p -c:a aac -b:a 128k -f flv"
TONE = "-re -f lavfi -i aevalsrc=0.5*sin(880*PI*t)|0.125*sin(880*PI*t):s=48000"


@pytest.fixture(autouse=True)
def hurried(mbashara_up: Up) -> Iterator[None]:
    with mbashara_up.hurrying("mbashara.stills"):
        yield


@contextmanager
def publishing(url: str, sound: str = "") -> Iterator[None]:
    line = f"{FFMPEG} -v error {sound} {PICTURE} {CODECS} {url}"
    encoder = subprocess.Popen(line.split(), stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        stop(encoder)


@contextmanager
def engineer(up: Up) -> Iterator[httpx.Client]:
    up.person_add(EMAIL, PASSWORD)
    with httpx.Client(base_url=up.http_url, follow_redirects=True, timeout=30, trust_env=False) as client:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/sw/staff/login").text)
        assert found
        client.post("/sw/staff/login", data={"csrf": found[1], "email": EMAIL, "password": PASSWORD})
        yield client


def look(client: httpx.Client, slug: str, cards: list[str]) -> str:
    """The channel's card on the wall; `cards` are those seen so far."""
    found = re.search(rf'<li class="card" id="card-{slug}".*?</ul>', client.get("/sw/console").text, re.DOTALL)
    cards.append(found[0] if found else "")
    return cards[-1]


def numbers_of(client: httpx.Client, events: str, slug: str) -> dict[str, dict[str, str]]:
    """As the pulse tells them first."""
    with client.stream("GET", events.replace("&amp;", "&")) as told:
        for line in told.iter_lines():
            for one in json.loads(line[6:]) if line.startswith("data: [") else []:
                if one.get("channel") == slug:
                    return one  # type: ignore[no-any-return]
    return {}


PEAKS = {"left": pytest.approx(6, abs=1), "right": pytest.approx(18, abs=1)}
"""Of TONE, below 0 dBFS, once the second has passed in which the encoder rings from the tone's beginning."""


def peaks_of(card: str) -> dict[str, float]:
    found = re.findall(r'<span data-number="sikio\.backup\.(left|right)\.peak">−(\d+\.\d)</span>', card)
    return {side: float(peak) for side, peak in found}


def test_levels_of_feeds_are_on_the_wall_on_the_air_or_held(mbashara_up: Up) -> None:
    up, keys = mbashara_up, mbashara_up.channel_add("sikio")
    with (
        publishing(f"{up.rtmp_url}/{keys.primary_key}"),
        publishing(f"{up.rtmp_url}/{keys.backup_key}", TONE),
        engineer(up) as client,
    ):
        cards: list[str] = []
        until(
            lambda: peaks_of(look(client, "sikio", cards)) == PEAKS,
            lambda: f"not the tone's level on the wall: {cards[-1]}",
            step_s=0.5,
        )
        card = cards[-1]
        assert "Hakuna sauti" in card and "sikio.primary.left" not in card

        events = re.search(r'data-events="([^"]+)"', client.get("/sw/console").text)
        assert events
        told: dict[str, dict[str, str]] = {}

        def is_told() -> bool:
            told.update(numbers_of(client, events[1], "sikio"))
            return "right.rms" in told.get("backup", {})

        until(is_told, "not in the pulse")
        assert float(told["backup"]["right.rms"]) == pytest.approx(-21, abs=1) and "right.rms" not in told["primary"]

        asked = ["token", "add", "sikio", "--scope", "health.read", "--days", "1", "--json"]
        plain = json.loads(command(up.data, *asked).stdout)["token"]
        levels: dict[str, Any] = {}

        def is_answered() -> bool:
            answer = json.loads(get(f"{up.http_url}/api/v1/feeds", {"authorization": f"Bearer {plain}"})[1])
            levels.update({one["role"]: one["levels"] for one in answer["items"] if one["channel"] == "sikio"})
            return levels["backup"] is not None

        until(is_answered, "not in the API")
        assert levels["primary"] is None
        assert [side["rms_dbfs"] for side in levels["backup"]["sides"]] == [
            pytest.approx(rms, abs=1) for rms in (-9, -21)
        ]
