"""Completeness statements: exact, signed, and the same on paper, on a page and as data."""

import base64
import json
import re
from contextlib import ExitStack
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from archive.pages.statement import MAX_WAITING, Made
from archive.recordings.about import from_files
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.statement import Copy, StatementError, canonical, sealed, state
from archive.recordings.statement_pdf import latin, render_pdf
from archive.recordings.statement_text import length, tell
from archive.recordings.verify import as_json, summary, verify
from archive.words import LOCALE
from core.web.assets import Assets
from core.web.i18n import Language, catalogue
from core.web.templating import HERE, Templates
from tests.unit.recording_kit import ID, IMPORTED, KEY, ORIGIN_MS, PUBLIC_KEY, is_genuine, make_recording

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
COPIES = (Copy("diski-2", "whole", "2026-11-28T11:00:00.000+00:00"), Copy("s3", "copying"))


def sign(text: bytes) -> dict[str, str]:
    return {
        "key": base64.b64encode(PUBLIC_KEY).decode(),
        "signature": base64.b64encode(KEY.sign(text)).decode(),
    }


def statement(folder: Path) -> dict[str, Any]:
    return sealed(state(folder, from_files(folder), NOW, "Asha Mushi", COPIES), sign)


def test_a_statement_is_exact_and_says_why(tmp_path: Path) -> None:
    folder = make_recording(tmp_path, segments=8, lost=(3, 4))
    (folder / "source" / "1.m4s").unlink()
    (folder / "source" / "2.m4s").write_bytes(b"short")
    (folder / "ledger.jsonl").open("ab").write(b'{"torn')
    told = statement(folder)["statement"]
    assert told["on_air"] == {
        "from": "2026-11-28T08:00:00.000+00:00", "to": "2026-11-28T08:00:32.000+00:00", "ms": 32_000, "is_over": True,
    }  # fmt: skip
    assert (told["best"]["held_ms"], told["best"]["gap_ms"]) == (24_000, 8000)
    source = next(one for one in told["renditions"] if one["name"] == "source")
    assert [(gap["from_ms"], gap["to_ms"], gap["cause"]) for gap in source["gaps"]] == [
        (4000, 12_000, "file missing"), (12_000, 20_000, "feed lost"),
    ]  # fmt: skip
    assert source["gaps"][0]["from"] == "2026-11-28T08:00:04.000+00:00"
    assert [one["what"] for one in told["events"]] == ["lost", "back"] * 2
    assert told["signatures"] == {"number": 1, "time_stamps": 0, "last_at": "2026-11-28T08:01:30.000+00:00"}
    assert [one["location"] for one in told["copies"]] == ["diski-2", "s3"]


def test_a_wait_for_an_encoder_that_never_came_back_is_told_and_is_no_loss(tmp_path: Path) -> None:
    folder = make_recording(tmp_path, lost=(2, 5))
    document = statement(folder)
    stated, told = document["statement"], tell(document, Language.EN)
    assert (stated["on_air"]["ms"], stated["best"]["gap_ms"], stated["waited"]["ms"]) == (20_000, 4000, 4000)
    assert (stated["on_air"]["to"], stated["waited"]["from"]) == ("2026-11-28T08:00:20.000+00:00",) * 2
    assert "0:00:04.000 are missing" in told.verdict and told.verdict.endswith(
        "The encoder did not come back: it was waited for 0:00:04.000, and nothing was on the air in that time."
    )
    assert dict(told.facts)["Waited for the encoder"].startswith("0:00:04.000, until ")
    events = [what for _, what in next(one for one in told.tables if one.title == "Interruptions").rows]
    assert events[-1] == "end: the encoder did not come back; waited 0:00:04.000" and len(events) == 4
    report = verify(folder)
    assert report.waited == (20_000, 20_000, 20_000, 24_000)
    assert as_json(report)["waited"]["from_ms"] == 20_000, "by name"
    assert [(gap["from_ms"], gap["to_ms"]) for gap in report.gaps] == [(8000, 12_000)]
    words = "\n".join(summary(report, "en"))
    assert ", 1 gap." in words and ", pengo 1." in "\n".join(summary(report, "sw"))
    assert "did not come back: it was waited for 4.000 s until the end" in words
    del stated["waited"]  # as those were that were signed before
    assert "waited" not in tell(document, Language.EN).verdict


def test_an_end_by_a_program_that_was_away_is_told(tmp_path: Path) -> None:
    """The process was killed and not back in time: what was lost before it stands there too."""
    folder = make_recording(tmp_path, lost=(), is_over=False)
    for fact in ({"fact": "lost", "at_ms": 24_000, "cause": "feed lost"},
                 {"fact": "ended", "duration_ms": 24_000, "size_bytes": 1, "reason": "process ended"}):  # fmt: skip
        Ledger(folder).append({"at": NOW.isoformat(), **fact})
    told = tell(statement(folder), Language.EN)
    events = [what for _, what in next(one for one in told.tables if one.title == "Interruptions").rows]
    assert events == [
        "feed lost",
        "end; the program was stopped and started again",
    ]


def test_an_encoder_that_was_turned_away_is_told(tmp_path: Path) -> None:
    folder = make_recording(tmp_path, lost=(), is_over=False)
    for fact in ({"fact": "lost", "at_ms": 24_000, "cause": "feed lost"},
                 {"fact": "refused", "at_ms": 25_000, "role": "primary", "cause": "key revoked"},
                 {"fact": "gap", "from_ms": 24_000, "to_ms": 30_000, "cause": "refused", "is_back": False},
                 {"fact": "ended", "duration_ms": 30_000, "size_bytes": 1, "reason": "ended by people"}):  # fmt: skip
        Ledger(folder).append({"at": NOW.isoformat(), **fact})
    document = statement(folder)
    told = tell(document, Language.EN)
    assert (document["statement"]["waited"]["ms"], document["statement"]["best"]["gap_ms"]) == (0, 6000)
    why = [row[-1] for table in told.tables[:1] for row in table.rows]
    assert why == ["the feed was lost, and an encoder that came was turned away"]
    events = next(one for one in told.tables if one.title == "Interruptions").rows
    assert events[-1] == ("11:00:25.000", "encoder turned away; its stream key had been revoked")


def test_a_feed_that_was_back_before_anything_was_missing_is_told_as_back(tmp_path: Path) -> None:
    folder = make_recording(tmp_path, lost=(), is_over=False)
    for fact in (
        {"fact": "lost", "at_ms": 24_000, "cause": "feed lost"},
        {"fact": "back", "at_ms": 24_000},
        {"fact": "ended", "duration_ms": 24_000, "size_bytes": 1, "reason": "ended by people"},
    ):
        Ledger(folder).append({"at": NOW.isoformat(), **fact})
    told = statement(folder)["statement"]
    assert [one["what"] for one in told["events"]] == ["lost", "back"] and told["best"]["gap_ms"] == 0
    assert {finding.kind for finding in verify(folder).findings} == {"unsigned_tail"}


def test_places_are_called_as_people_call_them(tmp_path: Path) -> None:
    kept = (Copy("local", "whole"), Copy("arusha", "whole", "", "Hifadhi ya Arusha", ""), Copy("s3", "copying"))
    document = sealed(state(make_recording(tmp_path), from_files(tmp_path / ID), NOW, "Asha", kept), sign)
    sw, en = ([row[0] for row in tell(document, one).tables[-1].rows] for one in (Language.SW, Language.EN))
    assert sw == ["Kwenye mashine hii", "Hifadhi ya Arusha", "s3"]
    assert en == ["On this machine", "Hifadhi ya Arusha", "s3"]
    for one in document["statement"]["copies"]:  # as those were that were signed before places had titles in them
        del one["title"]
    assert [row[0] for row in tell(document, Language.SW).tables[-1].rows] == ["Kwenye mashine hii", "arusha", "s3"]


def test_a_changed_word_or_another_key_is_found(tmp_path: Path) -> None:
    document = statement(make_recording(tmp_path))
    assert is_genuine(document) and is_genuine(json.loads(canonical(document)), {PUBLIC_KEY})
    assert not is_genuine(document, {b"\1" * 32})
    for path in (("made_by",), ("best", "held_ms"), ("ledger", "head")):
        changed = json.loads(canonical(document))
        place = changed["statement"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = 1
        assert not is_genuine(changed)
        assert not is_genuine(sealed(changed["statement"], lambda _: document["signature"]))
    assert not is_genuine({}) and not is_genuine({**document, "signature": {"key": "?", "signature": ""}})


def test_nothing_is_stated_from_a_broken_ledger(tmp_path: Path) -> None:
    folder = make_recording(tmp_path)
    ledger = folder / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    for broken in (b"", b"".join(lines[:4] + lines[5:])):
        ledger.write_bytes(broken)
        with pytest.raises(StatementError):
            statement(folder)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (Language.SW, ["Tamko la ukamilifu", "Kikao cha Bunge", "mlisho kutoka kwenye kisimbaji"]),
        (Language.EN, ["Completeness statement", "Sitting of Parliament", "the feed from the encoder was lost"]),
    ],
)
def test_paper_and_page_say_the_same_in_both_languages(language: Language, words: list[str], tmp_path: Path) -> None:
    document = statement(make_recording(tmp_path))
    pdf = render_pdf(document, language)
    assert pdf == render_pdf(document, language), "the same statement is the same file"
    assert f"/Lang ({language}-TZ)".encode() in pdf and b"/DisplayDocTitle true" in pdf
    assert attached(pdf) == canonical(document)
    page = on_page(document, language)
    on_paper = text_of(pdf)
    for word in [*words, document["statement"]["ledger"]["head"], "0:00:20.000 (83.333 %)", "11:00:12.000"]:
        assert word in page and word in on_paper, word


class View:
    path = "/x"


def on_page(document: dict[str, Any], language: Language) -> str:
    told = tell(document, language)
    facts = {"told": told, "view": View(), "live_now": [], "bars": [], "address": "/x", "recording_id": "x"}
    return Templates(
        {"archive": LOCALE.parent}, language, catalogue(language, HERE / "locale", LOCALE), Assets(), ""
    ).render("archive/statement.html", {**facts, "for_staff": False})


def text_of(pdf: bytes) -> str:
    import pypdfium2

    found = pypdfium2.PdfDocument(BytesIO(pdf))
    text = "\n".join(found[number].get_textpage().get_text_range() for number in range(len(found)))
    return re.sub(r"\s+", " ", text)


def attached(pdf: bytes) -> bytes:
    import pypdfium2

    return bytes(pypdfium2.PdfDocument(BytesIO(pdf)).get_attachment(0).get_data())


AT = "2026-11-24T08:00:23.999+00:00"


def test_paper_that_is_printed_waits_for_none_that_is_not(tmp_path: Path) -> None:
    """Threads that wait for a printer are those of all pages: few may."""
    made, document = Made(), statement(make_recording(tmp_path))
    paper = made.on_paper(document, Language.SW)
    with ExitStack() as printing:
        for _ in range(MAX_WAITING):
            printing.enter_context(made._turn(Lock()))
        printing.enter_context(made._printing)
        assert made.on_paper(document, Language.SW) is paper
        with pytest.raises(HTTPException, match="503"):
            made.on_paper(document, Language.EN)
    assert made.on_paper(document, Language.EN) != paper


def test_what_was_made_from_a_file_is_not_stated_to_have_been_on_the_air(tmp_path: Path) -> None:
    document = statement(make_recording(tmp_path, lost=(), imported=IMPORTED))
    made = document["statement"]["made_from"]
    assert made == {"name": "bajeti.mp4", "size": 7, "sha256": "ab" * 32, "at": "2026-11-28T08:00:00.000+00:00"}
    told = tell(document, Language.EN)
    assert ("Made from the file", "bajeti.mp4") in told.facts and ("SHA-256 of the file", "ab" * 32) in told.facts
    assert ("The recording begins", "28 November 2026, 11:00 EAT · 11:00:00.000") in told.facts
    assert told.verdict.startswith(
        "Everything that was made of the file is held. It was made from a file, not recorded"
    )
    assert "on the air" not in str(told).lower()
    lost = tell(statement(make_recording(tmp_path / "lost", imported=IMPORTED)), Language.EN)
    assert lost.verdict.startswith(
        "Of 0:00:24.000 0:00:20.000 are held. 0:00:04.000 are missing, as listed below. It was"
    )
    assert "hewani" not in tell(document, Language.SW).verdict.replace("kutoka hewani", "")
    del document["statement"]["made_from"]  # as statements were once signed
    assert tell(document, Language.EN).verdict == "Everything that was on the air is held."


def test_what_was_destroyed_by_order_is_stated_so_and_not_as_lost(tmp_path: Path) -> None:
    """The order names staff: that stays in the custody log."""
    folder = make_recording(tmp_path)
    for path in folder.glob("*/*"):
        path.unlink()
    lost = tell(statement(folder), Language.EN)
    assert "are missing" in lost.verdict and "its file is no longer where it was" in str(lost.tables)
    order = {"agent": "mbashara", "asked": "Asha Mushi", "approved": "Juma", "detail": "siri"}
    Ledger(folder, "custody.jsonl").append(make_fact("deletion", ORIGIN_MS + 60_000, outcome="success", **order))
    document = statement(folder)
    assert document["statement"]["destroyed"] == {"at": "2026-11-28T08:01:00.000+00:00"}
    assert not any(word in str(document) for word in ("Juma", "siri"))
    told = tell(document, Language.EN)
    assert told.verdict.startswith("This recording was destroyed by order on 28 November 2026, 11:01 EAT")
    assert "destroyed by order" in str(told.tables) and "no longer where it was" not in str(told.tables)
    assert "iliteketezwa kwa amri" in tell(document, Language.SW).verdict


def test_only_what_is_whole_is_a_hundred_percent(tmp_path: Path) -> None:
    whole = statement(make_recording(tmp_path / "1", lost=()))
    assert tell(whole, Language.EN).verdict == "Everything that was on the air is held."
    assert ("Held", "0:00:24.000 (100.000 %)") in tell(whole, Language.EN).facts
    nearly = statement(make_recording(tmp_path / "2", lost=()))
    nearly["statement"]["best"] |= {"held_ms": 23_999, "gap_ms": 1}
    assert ("Held", "0:00:23.999 (99.995 %)") in tell(nearly, Language.EN).facts
    ends = {"from_ms": 23_999, "to_ms": 24_000, "from": AT, "to": AT, "cause": "sound only"}
    nearly["statement"]["best"]["gaps"] = [ends]
    told = tell(nearly, Language.EN)
    assert told.is_complete and "a little longer than its picture" in told.verdict
    for worse in ({**ends, "from_ms": 23_900}, {**ends, "cause": "disk full"}):
        nearly["statement"]["best"]["gaps"] = [ends, worse]
        assert not tell(nearly, Language.EN).is_complete and "are missing" in tell(nearly, Language.EN).verdict
    growing = statement(make_recording(tmp_path / "3", is_over=False))
    assert "not over" in tell(growing, Language.EN).verdict


BRIEF_FIRST = [(1000, 1040), (5000, 5003)]


@pytest.mark.parametrize(
    ("gaps", "told", "tables"),
    [
        (BRIEF_FIRST, "nobody notices them", {"What is missing: shorter than a tenth of a second": 2}),
        (
            [*BRIEF_FIRST, (9000, 9100), (12_000, 13_500)],
            "Gaps that people notice: 2, 0:00:01.600 in all. Gaps shorter than a tenth of a second, which nobody "
            "notices: 2, 0:00:00.043 in all.",
            {"What is missing": 2, "What is missing: shorter than a tenth of a second": 2},
        ),
        ([(9000, 9100)], "0:00:00.100 are missing, as listed below.", {"What is missing": 1}),
        (
            [(at_ms, at_ms + 50) for at_ms in range(0, 20_000, 1000)],
            "0:00:01.000 are missing, as listed below.", {"What is missing": 20},
        ),
    ],
    ids=["none is noticed", "some are", "a tenth of a second", "so many that it stutters"],
)  # fmt: skip
def test_gaps_that_nobody_notices_are_told_apart(
    tmp_path: Path, gaps: list[tuple[int, int]], told: str, tables: dict[str, int]
) -> None:
    document = statement(make_recording(tmp_path, lost=()))
    missing_ms = sum(to_ms - from_ms for from_ms, to_ms in gaps)
    document["statement"]["best"] |= {
        "held_ms": 24_000 - missing_ms, "gap_ms": missing_ms,
        "gaps": [{"from_ms": a, "to_ms": b, "from": AT, "to": AT, "cause": "no picture"} for a, b in gaps],
    }  # fmt: skip
    found = tell(document, Language.EN)
    assert length(missing_ms) in found.verdict and found.verdict.endswith((told, f"{told}.")) and not found.is_complete
    assert {one.title: len(one.rows) for one in found.tables if one.title.startswith("What is")} == tables
    assert ('class="verdict bad"' in on_page(document, Language.EN)) == (told != "nobody notices them"), (
        "no alarm of that"
    )
    assert "sehemu ya kumi ya sekunde" in tell(document, Language.SW).verdict or "tenth" not in str(tables)


def test_the_end_of_a_feed_is_no_interruption(tmp_path: Path) -> None:
    document = statement(make_recording(tmp_path, segments=4, lost=(2,)))
    told, end = document["statement"], {"at": AT, "what": "lost", "cause": "feed lost"}
    told["events"].append(end)
    assert [len(table.rows) for table in tell(document, Language.EN).tables if table.title == "Interruptions"] == [2]
    told["best"]["gaps"][-1]["to_ms"] = told["on_air"]["ms"]
    assert [len(table.rows) for table in tell(document, Language.EN).tables if table.title == "Interruptions"] == [3]


def test_a_day_of_gaps_and_strange_letters_still_fit(tmp_path: Path) -> None:
    document = statement(make_recording(tmp_path, segments=1200, lost=range(0, 1200, 2), recording=ID))
    document["statement"]["title"] = {"sw": "Żółw Ngũgĩ 漢字 \x07 “Bunge” – leo", "en": ""}
    pdf = render_pdf(document, Language.SW)
    assert "Zó?w Ngugi ?? ? “Bunge” – leo" in text_of(pdf)


@given(st.text())
def test_any_letter_can_be_printed(text: str) -> None:
    latin(text).encode("windows-1252")


@given(st.integers(0, 10**9))
def test_lengths_keep_every_millisecond(milliseconds: int) -> None:
    hours, minutes, seconds = length(milliseconds).split(":")
    assert (int(hours) * 3600 + int(minutes) * 60) * 1000 + round(float(seconds) * 1000) == milliseconds
