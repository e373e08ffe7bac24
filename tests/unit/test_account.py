"""Every millisecond of a recording is accounted for: held and gaps add up to the time on the air, whatever happened."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.recordings.account import ELSEWHERE, MISSING, SOUND_ONLY, UNTOLD, Account, Holding, Stretch, account
from archive.recordings.ledger import read_facts
from archive.recordings.missing import missing
from archive.recordings.verify import NO_MEDIA, NO_PICTURE, gaps_of, verify, waited_for
from core.tables import Gap
from tests.unit.recording_kit import NEVER_BACK, make_recording

END_MS = 60
moments = st.integers(0, END_MS)
renditions = st.sampled_from(["source", "480p", "source-audio"])
causes = st.sampled_from(["feed lost", "disk full", "stalled"])


@st.composite
def spans(draw: st.DrawFn) -> dict[str, Any]:
    first, last = sorted((draw(moments), draw(moments)))
    return {"from_ms": first, "to_ms": last}


facts = st.lists(
    st.one_of(
        st.builds(
            lambda span, rendition, number, gaps: {
                "fact": "file", "rendition": rendition, "name": f"{rendition}/{number}.m4s", "size": 1, **span,
                "gaps": [[max(span["from_ms"], since), min(span["to_ms"], since + 3)] for since in sorted(gaps)
                         if span["from_ms"] - 3 < since < span["to_ms"]],
            },
            spans(), renditions, st.integers(0, 9), st.sets(st.integers(0, END_MS // 4).map(lambda at: 4 * at)),
        ),
        st.builds(lambda span, name, cause: {"fact": "absent", "rendition": name, "cause": cause, **span},
                  spans(), renditions, causes),
        st.builds(lambda span, name, cause: {"fact": "gap", "rendition": name, "cause": cause, **span},
                  spans(), renditions, causes),
        st.builds(lambda span, cause, told: {"fact": "gap", "cause": cause, **told, **span},
                  spans(), causes, st.sampled_from(({"is_back": True}, NEVER_BACK))),
        st.builds(lambda at: {"fact": "ended", "duration_ms": at}, moments),
        st.builds(lambda at: {"fact": "lost", "at_ms": at, "cause": "feed lost"}, moments),
        st.just({"fact": "resumed"}),
    ),
    max_size=25,
)  # fmt: skip


@given(facts, st.sets(st.integers(0, 9)))
def test_held_and_gaps_are_the_time_on_the_air(told: list[dict[str, Any]], gone: set[int]) -> None:
    def is_there(fact: dict[str, Any]) -> bool:
        return int(fact["name"].split("/")[1].split(".")[0]) not in gone

    found = account(told, is_there)
    newest = {fact["name"]: fact for fact in told if fact["fact"] == "file"}
    for one in (found.best, *found.renditions):
        assert one.held_ms + one.gap_ms == found.on_air_ms
        lacking = [moment for gap in one.gaps for moment in range(gap.from_ms, gap.to_ms)]
        assert lacking == sorted(set(lacking)), "gaps are in order, apart and never empty"
        names = {one.name} if one.name else {each.name for each in found.renditions if each.kind == one.kind}
        held = {
            moment
            for fact in newest.values()
            if fact["rendition"] in names and is_there(fact)
            for moment in range(fact["from_ms"], fact["to_ms"])
            if not any(since <= moment < until for since, until in fact["gaps"])
        }
        assert held.isdisjoint(lacking) and held | set(lacking) == set(range(found.from_ms, found.to_ms))
    told_ms = max((one.get(name, 0) for one in told for name in ("to_ms", "duration_ms")), default=0)
    assert found.waited_ms == 0 or found.to_ms + found.waited_ms == told_ms, (
        "between media and wait nothing is left out"
    )


def of(found: Account, name: str) -> Holding:
    return next(one for one in found.renditions if one.name == name)


def test_each_gap_has_the_cause_that_was_told(tmp_path: Path) -> None:
    told = list(read_facts(make_recording(tmp_path)))
    found = account(told, lambda fact: fact["name"] != "source/1.m4s")
    assert (found.on_air_ms, found.is_over) == (24_000, True)
    assert found.best.gaps == (Stretch(12_000, 16_000, "feed lost"),), "another quality has what a file's loss took"
    assert of(found, "source").gaps == (Stretch(4000, 8000, MISSING), Stretch(12_000, 16_000, "feed lost"))
    assert of(found, "480p").gaps == (Stretch(12_000, 16_000, "feed lost"), Stretch(20_000, 24_000, "disk full"))


def test_what_nobody_told_is_a_gap_too() -> None:
    told = [file("source", 0, 10), file("480p", 4, 10), file("source-audio", 0, 15)]
    found = account([*told, {"fact": "ended", "duration_ms": 20}])
    assert found.best.gaps == (Stretch(10, 15, SOUND_ONLY), Stretch(15, 20, UNTOLD))
    assert of(found, "480p").gaps == (Stretch(0, 4, ELSEWHERE), Stretch(10, 15, ELSEWHERE), Stretch(15, 20, UNTOLD))
    assert not account(told).is_over


def test_what_a_segment_holds_nothing_of_is_not_held_and_not_lost_with_its_file() -> None:
    told = [
        {**file("source", 0, 4000), "gaps": [[1000, 3000]]}, file("source-audio", 0, 4000),
        {"fact": "gap", "rendition": "source", "from_ms": 1000, "to_ms": 3000, "cause": NO_PICTURE},
        {**file("source", 4000, 8000), "gaps": [[4000, 5000]]},
        {**file("source-audio", 4000, 8000), "gaps": [[7000, 8000]]},
    ]  # fmt: skip
    found = account(told, lambda fact: fact["name"] != "source/4000")
    assert found.best.gaps == (
        Stretch(1000, 3000, NO_PICTURE), Stretch(4000, 5000, NO_MEDIA), Stretch(5000, 8000, MISSING),
    )  # fmt: skip
    assert (of(found, "source-audio").held_ms, of(found, "source-audio").gaps) == (
        7000,
        (Stretch(7000, 8000, NO_MEDIA),),
    )


def test_a_gap_that_was_told_a_picture_early_takes_nothing_from_what_is_held() -> None:
    """As an earlier program did, in ledgers that are signed."""
    early = [{"fact": "lost", "at_ms": 960, "cause": "feed lost"}]
    early += [{"fact": "gap", "from_ms": 960, "to_ms": 9000, "cause": "feed lost", "is_back": True}]
    told = [*KINDS, file("source", 0, 1000), file("source-audio", 0, 1000), *early, file("source", 9000, 9500)]
    found = account(told)
    assert (found.best.held_ms, found.best.gaps) == (1500, (Stretch(1000, 9000, "feed lost"),))
    assert of(found, "source-audio").gaps[0].from_ms == 1000
    assert waited_for([*told[:-1], {"fact": "ended", "duration_ms": 9000}]) is None
    never_back = {**early[1], **NEVER_BACK}
    wait = waited_for([*told[:-3], early[0], never_back, {"fact": "ended", "duration_ms": 9000}])
    assert wait is not None and (wait.from_ms, wait.picture_ms) == (1000, 1000), "nor of what was waited"


def test_sound_that_is_over_a_frame_before_its_picture_ended_with_its_feed() -> None:
    lost = {"fact": "gap", "from_ms": 1000, "to_ms": 9000, "cause": "feed lost", "is_back": True}
    found = account([*KINDS, file("source", 0, 1000), file("source-audio", 0, 976), lost, file("source", 9000, 9500)])
    assert of(found, "source-audio").gaps == (Stretch(976, 9000, "feed lost"), Stretch(9000, 9500, ELSEWHERE))


def file(rendition: str, first: int, last: int) -> dict[str, Any]:
    return {
        "fact": "file",
        "rendition": rendition,
        "name": f"{rendition}/{first}",
        "size": 1,
        "from_ms": first,
        "to_ms": last,
    }


def never_back(**others: Any) -> dict[str, Any]:
    return {"fact": "gap", "from_ms": 1000, "to_ms": 9000, "cause": "feed lost", **NEVER_BACK, **others}


LOST = {"fact": "lost", "at_ms": 1000, "cause": "stalled"}
FILLED = [{"fact": "absent", "rendition": "source", "from_ms": 1000, "to_ms": 9000, "cause": "no media"}]
ENDED = {"fact": "ended", "duration_ms": 9000}
KINDS = [{"fact": "rendition", "name": "source", "kind": "video"}]
SOUND = [*KINDS, file("source", 0, 1000), file("source-audio", 0, 1030)]


@pytest.mark.parametrize(
    ("facts", "to_ms", "gaps"),
    [
        ([*SOUND, LOST, *FILLED, never_back(), ENDED], 1030, [(1000, 1030, SOUND_ONLY)]),
        ([*SOUND, LOST, never_back(is_back=True), file("source", 9000, 9500), ENDED], 9500,
         [(1000, 9000, "feed lost")]),
        ([*SOUND, LOST, never_back(cause="stalled"), ENDED], 9000, [(1000, 9000, "stalled")]),
        ([*SOUND, LOST, never_back(cause="process ended"), ENDED], 9000, [(1000, 9000, "process ended")]),
        ([*SOUND, LOST, {"fact": "resumed"}, never_back(), ENDED], 9000, [(1000, 9000, "feed lost")]),
        ([*SOUND, never_back(), ENDED], 9000, [(1000, 9000, "feed lost")]),
        ([*SOUND, LOST, never_back(), {**ENDED, "duration_ms": 9500}], 9500,
         [(1000, 9000, "feed lost"), (9000, 9500, UNTOLD)]),
        ([*SOUND, LOST, never_back()], 9000, [(1000, 9000, "feed lost")]),
        ([*SOUND, LOST, never_back(waited=None), ENDED], 9000, [(1000, 9000, "feed lost")]),
        ([*SOUND, never_back(cause="process ended"), LOST, never_back(), ENDED], 9000,
         [(1000, 9000, "feed lost")]),
        ([*SOUND, LOST, file("source-audio", 4000, 5000), never_back(), ENDED], 5000,
         [(1000, 1030, SOUND_ONLY), (1030, 4000, "feed lost"), (4000, 5000, SOUND_ONLY)]),
        ([*SOUND, LOST, {**FILLED[0], "to_ms": 3000, "cause": "disk full"}, never_back(), ENDED], 3000,
         [(1000, 1030, SOUND_ONLY), (1030, 3000, "feed lost")]),
        ([*SOUND[:2], LOST, {**file("source-audio", 0, 4000), "gaps": [[1030, 4000]]}, never_back(), ENDED], 1030,
         [(1000, 1030, SOUND_ONLY)]),
    ],
    ids=["wait", "back", "stalled", "program away", "program away meanwhile", "not lost before", "longer than told",
         "no end", "nobody said so", "told of already", "sound came back", "what came was not kept",
         "the last segment is sound at first"],
)  # fmt: skip
def test_what_comes_after_a_feed_that_is_not_back_is_no_loss_and_all_else_is(
    facts: list[dict[str, Any]], to_ms: int, gaps: list[tuple[int, int, str]]
) -> None:
    found = account(facts)
    assert (found.to_ms, [tuple(gap) for gap in found.best.gaps]) == (to_ms, gaps)
    wait = waited_for(facts)
    assert found.waited_ms == (9000 - to_ms if wait else 0)
    reported = sorted({(one["from_ms"], one["to_ms"]) for one in gaps_of(facts)})
    assert reported == ([(1000, 9000)] if wait is None else [] if to_ms == 1030 else [(1000, to_ms)]), "as verify.py"


def test_a_stretch_that_several_renditions_lack_is_told_of_each(tmp_path: Path) -> None:
    """Their segments are as long to the millisecond."""
    lines: list[dict[str, Any]] = [
        {"fact": "gap", **({"rendition": name} if name else {}), "from_ms": 8000, "to_ms": 12_000, "cause": "disk full"}
        for name in ("source", "360p", None)
    ]
    report = verify(tmp_path)._replace(gaps=lines)
    found = missing([Gap(started_ms=8000, ended_ms=12_000, cause="disk full") for _ in range(4)], report)
    assert [one.rendition for one in found] == ["source", "360p", None, None]
