"""Institutions' colours in stylesheets, and pictures that people send as emblems: what is drawn and what is refused."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from starlette.applications import Starlette
from starlette.testclient import TestClient

from core import brand, emblems
from core.institutions import contrast_with_white
from core.problems import Message
from core.tables import Institution
from core.web.brand import routes

SECRET = "<script>siri</script>"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may be full of other tests."""
    monkeypatch.setattr(emblems, "MAX_WALL_S", 300)


def picture(kind: str = "PNG", size: tuple[int, int] = (400, 200), **options: object) -> bytes:
    """With a secret in its metadata."""
    image, file = Image.effect_noise(size, 50).convert("RGB"), BytesIO()
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", SECRET)
        options = {"pnginfo": text, **options}
    if kind == "JPEG":
        options = {"comment": SECRET.encode(), **options}
    if kind == "WEBP":
        options = {"xmp": SECRET.encode(), **options}
    image.save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims so many pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_drawn_anew(kind: str) -> None:
    sent = picture(kind)
    drawn = emblems.draw(sent)
    assert isinstance(drawn, bytes)
    with Image.open(BytesIO(drawn)) as image:
        assert (image.format, image.size, image.info) == ("PNG", (256, 128), {})
    assert SECRET.encode() in sent and SECRET.encode() not in drawn


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_is_cut_off_or_followed_by_more_is_refused(kind: str) -> None:
    whole = picture(kind, progressive=True) if kind == "JPEG" else picture(kind)
    assert emblems.check(whole) is None
    for length in (12, 40, len(whole) // 2, len(whole) - 1):
        assert emblems.check(whole[:length]) is Message.EMBLEM_BROKEN, length
    assert emblems.check(whole + f"<html>{SECRET}</html>".encode()) is Message.EMBLEM_MORE


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", Message.EMBLEM_NONE),
        (b"<!doctype html><script>alert(1)</script>", Message.EMBLEM_KIND),
        (b"GIF89a" + bytes(100), Message.EMBLEM_KIND),
        (b"RIFF\x10\0\0\0WAVEfmt ", Message.EMBLEM_KIND),
        (b'<?xml version="1.0"?>\n<SVG xmlns="http://www.w3.org/2000/svg"/>', Message.EMBLEM_SVG),
        (b"\x89PNG\r\n\x1a\n" + bytes(emblems.MAX_BYTES), Message.EMBLEM_LARGE),
        (bomb(50_000, 50_000), Message.EMBLEM_PIXELS),
        (bomb(4096, 4096), Message.EMBLEM_BROKEN),
        (bomb(63, 400), Message.EMBLEM_SMALL),
    ],
)
def test_what_is_no_emblem_is_refused_with_a_reason(sent: bytes, message: Message) -> None:
    assert emblems.draw(sent) is message


def test_the_largest_picture_fits_into_the_workers_memory() -> None:
    file = BytesIO()
    Image.new("CMYK", (4096, 4096), (20, 90, 70, 10)).save(file, "JPEG")
    assert isinstance(emblems.draw(file.getvalue()), bytes)


def test_a_picture_is_not_called_broken_where_the_machine_is_too_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emblems, "MAX_WALL_S", 0.01)
    assert emblems.draw(picture()) is Message.EMBLEM_BUSY


def test_files_are_kept_under_their_hash_and_old_ones_go(tmp_path: Path) -> None:
    first, second, third = (emblems.keep(tmp_path, 7, picture) for picture in (b"a", b"b", b"c"))
    assert emblems.keep(tmp_path, 7, b"a") == first and len({first, second, third}) == 3
    neighbour = emblems.keep(tmp_path, 77, b"a")
    emblems.clear(tmp_path, 7, second, third)
    assert {path.name for path in tmp_path.iterdir()} == {second, third, neighbour}
    assert (tmp_path / third).stat().st_mode & 0o777 == 0o644


def test_a_stylesheet_holds_the_colours_of_its_address() -> None:
    owners = [Institution(name_sw="x", name_en="x", brand_colour=colour) for colour in ("#1e5945", None, "#0b6b2a")]
    address = brand.sheet_address(map(brand.brand_of, [*owners, *owners]))
    assert address == "/brand/0b6b2a-1e5945.css"
    client = TestClient(Starlette(routes=routes()))
    answer = client.get(address)
    assert answer.text == ".tint-0b6b2a{--brand:#0b6b2a}\n.tint-1e5945{--brand:#1e5945}\n"
    assert "immutable" in answer.headers["cache-control"]
    for strange in ("fcd116", "1e5945-fcd116", "1e5945-", "1E5945", "red", "-".join(["1e5945"] * 81)):
        assert client.get(f"/brand/{strange}.css").status_code == 404, strange
    assert brand.sheet_address([brand.brand_of(owners[1])]) == ""


@pytest.mark.parametrize("colour", ["#fcd116", "#ffffff", "#1eb53a", "#00a3dd"])
def test_a_pale_colour_is_darkened_as_little_as_needed(colour: str) -> None:
    dark = brand.darkened(colour)
    assert dark is not None and 4.5 <= contrast_with_white(dark) < 4.8
    assert brand.darkened("#1e5945") == "#1e5945" and brand.darkened("green") is None
