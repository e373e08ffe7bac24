"""The viewer's pages: languages, headers, errors, and that nothing in them needs what the policy forbids."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

import player
from core.tables import Institution
from core.web.assets import Assets, AssetsMissing
from core.web.headers import SecurityHeaders
from core.web.i18n import Language
from mbashara.web import error_pages
from player.pages import LATE, Air, RecordingNames, routes
from tests.unit.site_kit import NOW, make_site

PLAYER_DIR = Path(player.__file__).parent
RECORDING_ID = "01j0000000000000000000000a"
BUILT = {
    "engine.js": "engine-0.js",
    "player.js": "player-1.js",
    "player.css": "player-2.css",
    "base.css": "base-3.css",
}


@dataclass(frozen=True)
class Names:
    slug: str
    name_sw: str
    name_en: str
    institution: Institution | None = None


AIR = {
    "ikulu": Air("live"),
    "bado": Air("offline", planned_at=datetime(2026, 11, 30, 7, 0, tzinfo=UTC)),
    "imekwisha": Air("ended", f"/recordings/{RECORDING_ID}/index.m3u8"),
    "kimya": Air("ended"),
}


class Channels:
    """One channel and one recording; their names carry what would break out of a page."""

    def channel(self, slug: str) -> Names | None:
        return Names(slug, "Ikulu <b>", 'State "House"') if slug in AIR else None

    def air(self, slug: str, since: datetime) -> Air:
        assert since == NOW - LATE
        return AIR[slug]

    def recording(self, recording_id: str) -> RecordingNames | None:
        if recording_id != RECORDING_ID:
            return None
        return RecordingNames(recording_id, "Bunge", "Parliament", datetime(2026, 11, 24, 22, 30, tzinfo=UTC))


@pytest.fixture
def static_dir(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text(json.dumps(BUILT))
    for name in BUILT.values():
        for suffix in ("", ".gz", ".br"):
            (tmp_path / (name + suffix)).write_bytes(f"{name}{suffix}".encode())
    (tmp_path / "secret.js").write_text("not in the manifest")
    return tmp_path


@pytest.fixture
def client(static_dir: Path) -> Iterator[TestClient]:
    site = make_site(assets=Assets(static_dir))
    application = Starlette(
        routes=[site.assets.route(), *routes(site, Channels(), lambda slug: False)],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers=error_pages(site),
    )
    with TestClient(application) as client:
        yield client


PAGES = (
    "/sw/live/ikulu",
    "/en/live/ikulu",
    f"/sw/recordings/{RECORDING_ID}",
    f"/en/recordings/{RECORDING_ID}",
)
MISSING = ("/sw/live/nani", "/en/live/nobody", "/sw/recordings/x", "/en/recordings/x")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/sw/live/ikulu", "Matangazo mubashara"),
        ("/en/live/ikulu", "Live broadcast"),
        (f"/sw/recordings/{RECORDING_ID}", "Rekodi"),
        (f"/en/recordings/{RECORDING_ID}", "Recording"),
        ("/sw/live/nani", "Ukurasa haukupatikana"),
        ("/en/live/nobody", "Page not found"),
    ],
)
def test_speaks_the_language_of_the_address(client: TestClient, path: str, words: str) -> None:
    answer = client.get(path)
    language = path.split("/")[1]
    assert f'<html lang="{language}">' in answer.text
    assert answer.headers["content-language"] == language
    assert words in answer.text


@pytest.mark.parametrize("path", PAGES + MISSING)
def test_links_to_itself_in_the_other_language(client: TestClient, path: str) -> None:
    text = client.get(path).text
    _, language, rest = path.split("/", 2)
    other = Language(language).other
    assert f'href="/{other}/{rest}" hreflang="{other}" lang="{other}" rel="alternate"' in text
    assert f'<link rel="alternate" hreflang="{language}" href="{path}">' in text
    assert f'<link rel="alternate" hreflang="x-default" href="/sw/{rest}">' in text


def test_dates_are_those_of_tanzania(client: TestClient) -> None:
    assert "25 November 2026, 01:30 EAT" in client.get(f"/en/recordings/{RECORDING_ID}").text
    assert "25 Novemba 2026, saa 7:30 usiku (01:30)" in client.get(f"/sw/recordings/{RECORDING_ID}").text


@pytest.mark.parametrize("path", MISSING)
def test_an_unknown_address_is_404_and_not_kept(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"
    assert "<mb-player" not in answer.text


@pytest.mark.parametrize("path", PAGES + MISSING)
def test_nothing_inline_and_no_other_host(client: TestClient, path: str) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    without_namespace = answer.text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|src=.//", without_namespace)
    assert not re.search(r"\son\w+=|\sstyle=|<style", answer.text)
    scripts = re.findall(r"<script[^>]*>", answer.text)
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)


def test_names_cannot_break_out(client: TestClient) -> None:
    swahili, english = client.get("/sw/live/ikulu").text, client.get("/en/live/ikulu").text
    assert "Ikulu <b>" not in swahili and "Ikulu &lt;b&gt;" in swahili
    assert 'data-name="State &#34;House&#34;"' in english


@pytest.mark.parametrize(("path", "base"), [(PAGES[0], "/live/ikulu"), (PAGES[3], f"/recordings/{RECORDING_ID}")])
def test_plays_sound_without_scripts(client: TestClient, path: str, base: str) -> None:
    text = client.get(path).text
    assert f'<audio controls preload="none" src="{base}/audio.m3u8"' in text


def test_says_without_scripts_what_cannot_be_played(client: TestClient) -> None:
    before, after = client.get("/en/live/bado").text, client.get("/sw/live/imekwisha").text
    assert "Next broadcast: Monday, 30 November, 10:00." in before and "does not notice" in before
    assert f'href="/sw/recordings/{RECORDING_ID}">Cheza rekodi</a>' in after
    over = client.get("/en/live/kimya").text
    assert "does not notice when a new one starts" in over and "come back then" not in over
    assert "<audio" not in before + after + over


def test_the_panel_has_the_planned_time_to_show(client: TestClient) -> None:
    text = client.get("/sw/live/bado").text
    found = re.search(r'<p [^>]*data-panel="planned" data-at="([^"]+)" hidden>([^<]+)</p>', text)
    assert found and found[2] == "Matangazo yajayo: Jumatatu, 30 Novemba, saa 4:00 asubuhi (10:00)."
    assert datetime.fromisoformat(found[1]) == AIR["bado"].planned_at
    assert 'data-panel="planned"' not in client.get("/sw/live/kimya").text


def test_the_shell_gets_every_word_it_says(client: TestClient) -> None:
    found = re.search(r'id="mb-words">(.*?)</script>', client.get("/sw/live/ikulu").text)
    assert found
    words = json.loads(found[1])
    shell = "".join(path.read_text() for path in (PLAYER_DIR / "shell").glob("*.js"))
    said = set(re.findall(r"say\('(\w+)'", shell)) | set(re.findall(r"\.label\('\w+', [^;]*?'(\w+)'", shell))
    assert said and said <= set(words)
    unused = {key for key in words if not re.search(rf"\b{key}\b", shell)}
    assert not unused


@pytest.mark.parametrize(
    ("accepted", "coding", "suffix"),
    [
        ("br, gzip", "br", ".br"),
        ("gzip, deflate", "gzip", ".gz"),
        ("br;q=0, gzip", "gzip", ".gz"),
        ("identity", None, ""),
    ],
)
def test_an_asset_is_kept_for_ever_in_the_best_coding(
    client: TestClient, accepted: str, coding: str | None, suffix: str
) -> None:
    with client.stream("GET", "/static/player-1.js", headers={"Accept-Encoding": accepted}) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers.get("content-encoding") == coding
    assert body == f"player-1.js{suffix}".encode()
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("name", ["secret.js", "manifest.json", "player-9.js", "..%2fpages.py"])
def test_nothing_but_the_manifest_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_an_unbuilt_player_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(AssetsMissing, match="npm ci && npm run build"):
        Assets(tmp_path)
