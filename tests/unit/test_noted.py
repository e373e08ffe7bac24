"""What was noted of copies in English is told in the reader's language, whichever table it was written from."""

from collections.abc import Iterator
from string import Formatter

import pytest

from archive.pages.noted import tell
from archive.recordings import checks, copies
from archive.recordings.locations.errors import Refused, Unreachable
from archive.recordings.policy_errors import HoldStands
from archive.recordings.verify import TEXTS, Finding
from core.web.i18n import Language

PLACES = {"dodoma": "Dodoma, ghorofa ya pili"}
TIME = "2026-11-28 19:41:00.000+03:00"
VALUES = {"time": TIME, "location": "local", "file": "source 1. (x)/1.m4s", "other": "dodoma", "reason": "EIO. (5)"}
IN_SWAHILI = VALUES | {
    "time": "28 Novemba 2026, 19:41:00",
    "location": "mashine hii",
    "other": "Dodoma, ghorofa ya pili",
}


def findings() -> Iterator[tuple[str, str, str]]:
    """Each kind's text in English as it was noted, and in Swahili as it is to be told."""
    for kind, (swahili, english) in TEXTS.items():
        names = {name for _, name, *_ in Formatter().parse(english) if name}
        values = {name: VALUES.get(name, f"{name}-1. x") for name in names}
        told = {name: IN_SWAHILI.get(name, values[name]) for name in names}
        said = swahili.format(**told)
        is_name = swahili.startswith("{") and not said.startswith("mashine hii")
        yield kind, Finding(kind, values).text(), said if is_name else said[0].upper() + said[1:]


AWAY = str(Unreachable("dodoma", "[Errno 2] /mnt"))
AWAY_SW = "Dodoma, ghorofa ya pili: haifikiki: [Errno 2] /mnt"
MISSING = Finding("missing", {"file": "a. b.m4s", "time": TIME})
MISSING_SW = "Faili a. b.m4s halipo (28 Novemba 2026, 19:41:00)."
LOST = Finding("no_good_copy", {"file": "a. b.m4s"})
REFUSED = Finding("refused", {"location": "local", "reason": AWAY}).text()
SEVERAL = Finding("source_away", {"location": "local, dodoma"}).text()
HOLE = Finding("number_lacking", {"rendition": "source", "msn": 3, "last": 3, "time": TIME})
CASES = [
    *findings(),
    ("one of something", HOLE.text(), "source: kipande 3 hakimo katika leja (kabla ya 28 Novemba 2026, 19:41:00)."),
    ("a store that is away", AWAY, AWAY_SW),
    ("a store's own words", str(Refused("dodoma", "a/403.m4s: PutObject: 403 InvalidAccessKeyId: No such key")),
     "Dodoma, ghorofa ya pili: haituruhusu: utambulisho (ufunguo au siri yake) si sahihi "
     "(“a/403.m4s: PutObject: 403 InvalidAccessKeyId: No such key”)"),
    ("why there is no good copy", REFUSED, f"Mashine hii haikubali: {AWAY_SW}"),
    ("why it is not mended", f"{MISSING.text()} {LOST.text()}", f"{MISSING_SW} {LOST.text('sw')}"),
    ("several places", SEVERAL,
     "Nakala nzuri haipatikani sasa, mashine hii, Dodoma, ghorofa ya pili haijibu: itajaribiwa tena."),
    ("copying", copies.NOT_COPIED.format(count=3), "Mafaili 3 hayakuweza kunakiliwa kama leja inavyosema"),
    ("papers", copies.PAPERS_DAMAGED, "Nyaraka za hapa zimeharibika, na hazikunakiliwa"),
    ("other papers", copies.PAPERS_OTHER,
     "Nyaraka za pale zinasema mengine kuliko za hapa, au zaidi, na hazikuandikiwa juu"),
    ("looking", checks.NOT_LOOKED_AT, "Haikuweza kukaguliwa"),
    ("a rule, as rows have it", str(HoldStands(reason="kesi")), "Kuna zuio la kisheria: kesi."),
    ("a rule, as the log has it", HoldStands(reason="kesi").said(Language.EN), "Kuna zuio la kisheria: kesi."),
    ("words of an older version", "a file was changed", "a file was changed"),
    ("a person's", "Imekaguliwa. The file is fine.", "Imekaguliwa. The file is fine."),
    ("nothing", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("noted", "told"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_was_noted_is_told_in_swahili(noted: str, told: str) -> None:
    assert tell(noted, Language.SW, PLACES) == told


def test_in_english_places_have_their_names_and_nothing_is_said_twice() -> None:
    assert tell(AWAY, Language.EN, {"dodoma": "Dodoma"}) == "Dodoma: it can't be reached: [Errno 2] /mnt"
    assert tell(MISSING.text(), Language.EN, PLACES) == "The file a. b.m4s is missing (28 November 2026, 19:41:00)."
