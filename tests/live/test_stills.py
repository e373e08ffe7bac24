"""Pictures of a real encoder's feed, through the whole program: held, on the air, and gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import encoder
from tests.up import Up, get, until


@pytest.fixture(autouse=True)
def hurried(mbashara_up: Up) -> Iterator[None]:
    with mbashara_up.hurrying("mbashara.stills"):
        yield


def is_jpeg(path: Path) -> bool:
    return path.exists() and path.read_bytes()[:2] == b"\xff\xd8"


def test_a_picture_comes_with_the_broadcast_and_goes_with_it(mbashara_up: Up) -> None:
    up = mbashara_up
    keys = up.channel_add("picha")
    address, folder = f"{up.http_url}/live/picha/still.jpg", up.run / "stills"
    with (
        encoder.publishing(f"{up.rtmp_url}/{keys.primary_key}"),
        encoder.publishing(f"{up.rtmp_url}/{keys.backup_key}"),
    ):
        until(lambda: get(address)[0] == 200, "no picture of what is on the air")
        status, picture, headers = get(address)
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "image/jpeg", "public, max-age=3")
        assert picture[:2] == b"\xff\xd8" and len(picture) < 30_000
        # The row comes by the ledger, the picture by itself: on a full machine it may be there first.
        until(lambda: b"/live/picha/still.jpg" in get(f"{up.http_url}/sw/?now")[1], "not on the first page")
        assert b'poster="/live/picha/still.jpg"' in get(f"{up.http_url}/sw/live/picha?now")[1]
        both = [folder / f"picha.{role}.jpg" for role in ("primary", "backup")]
        until(lambda: all(is_jpeg(one) for one in both), "not of both feeds")
        for path in ("/_stills/picha.backup.jpg", "/console/stills/picha/backup.jpg", "/live/picha/backup.jpg"):
            assert get(f"{up.http_url}{path}")[0] in (403, 404), path
        # A stills process that dies hurts nobody, and pictures go on.
        (up.run / "stills" / "levels.looked").touch()  # staff look
        until(lambda: get(address)[1] != picture, "the picture stands still")
        (up.run / "stills" / "levels.looked").unlink()  # or it stays root's, and nobody else can say that they look
        up.wait_restarted("stills", up.kill("stills"))
    until(lambda: get(address)[0] == 404, "a picture of what is over")
    until(lambda: not list(folder.glob("picha.*")), "pictures of feeds that have gone")
