"""Problems of the API: every message has its Swahili, with the same places to fill."""

import re
from pathlib import Path

import pytest

from core.web.i18n import Language, catalogue
from core.web.limits import Allowance, Buckets, Rate
from mbashara.api import problems

SOURCES = "\n".join(path.read_text() for path in Path(problems.__file__).parent.glob("*.py"))
SAID = [
    *re.findall(r'Said\(\s*"([^"]+)"', SOURCES),
    *problems._MESSAGES.values(),
    *(kind.title for kind in problems.Kind),
]


@pytest.mark.parametrize("message", sorted(set(SAID)))
def test_every_message_has_its_swahili(message: str) -> None:
    swahili = catalogue(Language.SW, *problems.LOCALES).gettext(message)
    assert swahili != message
    assert sorted(re.findall(r"{\w+}", swahili)) == sorted(re.findall(r"{\w+}", message))


def test_a_bucket_fills_again_and_no_key_grows_beyond_the_bound() -> None:
    now_s = 100.0
    buckets = Buckets(Rate(burst=2, per_s=1), lambda: now_s, max_keys=2)
    assert buckets.take("a") == Allowance(2, 1, 1, None)
    assert buckets.take("a") == Allowance(2, 0, 2, None)
    assert buckets.take("a") == Allowance(2, 0, 2, 1)
    now_s = 100.5
    assert buckets.is_empty("a")
    now_s = 90.0
    assert buckets.is_empty("a"), "a clock that goes back gives nothing"
    now_s = 1000.0
    assert buckets.take("a").remaining == 1, "never more than the burst"
    buckets.give_back("a")
    assert buckets.take("a").remaining == 1
    buckets.take("b")
    buckets.take("c")
    assert not buckets.knows("a") and buckets.knows("c")
