"""What an institution may be called and look like, and where its pages may be embedded."""

from dataclasses import replace

import pytest

from core.institutions import InstitutionFacts, check, clean, contrast_with_white
from core.problems import Message, Problem

MANY = tuple(f"https://a{number}.go.tz" for number in range(21))
GOOD = InstitutionFacts("bunge", "Bunge la Tanzania", "Parliament of Tanzania")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"slug": "Bunge!"}, Problem("slug", Message.SLUG)),
        ({"name_sw": "  "}, Problem("name_sw", Message.NAME)),
        ({"name_en": "x" * 201}, Problem("name_en", Message.NAME)),
        ({"name_en": "a\0b"}, Problem("name_en", Message.NAME)),
        ({"acronym": "x" * 21}, Problem("acronym", Message.ACRONYM)),
        ({"acronym": "TAMISEMI"}, None),
        ({"kind": "shop"}, Problem("kind", Message.KIND)),
        ({"kind": "ministry"}, None),
        ({"parent_id": 1 << 31}, Problem("parent_id", Message.PARENT)),
        ({"kind": "local_authority"}, Problem("region", Message.REGION)),
        ({"kind": "local_authority", "region": "Dodoma"}, None),
        ({"region": "Atlantis"}, Problem("region", Message.REGION)),
        ({"brand_colour": "#1E5945"}, None),
        ({"brand_colour": "green"}, Problem("brand_colour", Message.COLOUR)),
        ({"brand_colour": "#fcd116"}, Problem("brand_colour", Message.COLOUR_PALE)),
        ({"site_origins": MANY}, Problem("site_origins", Message.ORIGINS_MANY)),
    ],
)  # fmt: skip
def test_checks(change: dict[str, object], problem: Problem | None) -> None:
    assert check(clean(replace(GOOD, **change))) == (() if problem is None else (problem,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("https://www.bunge.go.tz", "https://www.bunge.go.tz"), (" HTTPS://Bunge.go.tz/ ", "https://bunge.go.tz"),
        ("https://bunge.go.tz:443", "https://bunge.go.tz"), ("https://a.tz:8443", "https://a.tz:8443"),
        ("http://bunge.go.tz", None), ("bunge.go.tz", None), ("https://bunge", None), ("https://a.tz/live", None),
        ("https://*.go.tz", None), ("https://a@b.tz", None), ("https://a.tz; script-src *", None), ("https://", None),
        ("https://a.tz https://b.tz", None), ("https://a.tz\n", "https://a.tz"), ("https://-a.tz", None),
        ("https://a.tz:99999", None), ("https://a.tz:0", None), ("https://10.0.0.1", None), ("https://a..tz", None),
        (f"https://{'a' * 64}.tz", None), ("https://bungé.tz", None), ("javascript:alert(1)", None), ("", None),
    ],
)  # fmt: skip
def test_origins(typed: str, stored: str | None) -> None:
    facts = clean(replace(GOOD, site_origins=(typed, typed)))
    if stored is None:
        assert check(facts) == (Problem("site_origins", Message.ORIGIN),)
    else:
        assert (check(facts), facts.site_origins) == ((), (stored,))


@pytest.mark.parametrize(("colour", "ratio"), [("#000000", 21), ("#ffffff", 1), ("#767676", 4.54), ("#777777", 4.48)])
def test_contrast(colour: str, ratio: float) -> None:
    assert contrast_with_white(colour) == pytest.approx(ratio, abs=0.01)
