"""An institution's brand (chapa): its colour, always dark enough for white text, and its emblem (core/emblems.py).

A page may not say a colour itself (Content-Security-Policy: nothing inline). It links to a stylesheet whose address
holds the colours, so what an address answers never changes, and no file has to be kept in step with a row.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.institutions import COLOUR_PATTERN, MIN_CONTRAST, contrast_with_white
from core.tables import Institution

FOLDER = "/brand"
MAX_COLOURS = 80
"""In one stylesheet: its address stays under 600 characters. Institutions beyond that have our own colour."""
SHEET_NAME = re.compile(rf"[0-9a-f]{{6}}(-[0-9a-f]{{6}}){{0,{MAX_COLOURS - 1}}}")


@dataclass(frozen=True, slots=True)
class Brand:
    """What a page shows of an institution. `tint` is the class of its colour, `emblem` the picture's address."""

    name_sw: str
    name_en: str
    colour: str | None
    tint: str
    emblem: str


def brand_of(institution: Institution) -> Brand:
    colour, emblem = institution.brand_colour, institution.emblem
    tint = f"tint-{colour[1:]}" if colour else ""
    return Brand(institution.name_sw, institution.name_en, colour, tint, f"{FOLDER}/{emblem}" if emblem else "")


def sheet_address(brands: Iterable[Brand]) -> str:
    """Of the stylesheet with all these colours; empty where there are none."""
    colours = sorted({brand.colour for brand in brands if brand.colour})[:MAX_COLOURS]
    return f"{FOLDER}/{'-'.join(colour[1:] for colour in colours)}.css" if colours else ""


def read_sheet_name(name: str) -> Sequence[str] | None:
    """The colours that an address asks for; None unless all of them are ones that an institution may have."""
    if not SHEET_NAME.fullmatch(name):
        return None
    colours = [f"#{digits}" for digits in name.split("-")]
    return colours if all(contrast_with_white(colour) >= MIN_CONTRAST for colour in colours) else None


def sheet(colours: Iterable[str]) -> str:
    return "".join(f".tint-{colour[1:]}{{--brand:{colour}}}\n" for colour in colours)


def darkened(colour: str) -> str | None:
    """The nearest colour of the same hue that white text can be read on; None for what is no colour."""
    if not COLOUR_PATTERN.fullmatch(colour):
        return None
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    shades = (
        "#" + "".join(f"{channel * percent // 100:02x}" for channel in channels) for percent in range(100, -1, -1)
    )
    return next(shade for shade in shades if contrast_with_white(shade) >= MIN_CONTRAST)
