"""The console's pulse: who is told what, after which change."""

import json
from collections.abc import Mapping, Sequence

import pytest

from ingest.console import Told
from ingest.console.pulse import Beat, beat


def feed(slug: str, received_bps: float = 2e6, **more: object) -> Told:
    measures = {"received_bps": received_bps, "frame_rate": 25.04, "gop_s": 2.0}
    plain = {"feed": "f1", "role": "primary", "on_air": True, "state": "good", "issues": [], "tracks": []}
    return {"channel": slug, "measures": measures, **plain, **more}


def events(told: str) -> dict[str, object]:
    """By the event's name."""
    lines = [part.split("\n") for part in told.split("\n\n") if part]
    return {name.removeprefix("event: "): json.loads(data.removeprefix("data: ")) for name, data in lines}


NUMBERS = {"channel": "ikulu", "primary": {"kbits": 2000, "fps": 25.0, "gop": 2.0}}


@pytest.mark.parametrize(
    ("before", "after", "versions", "told"),
    [
        ([], [], {}, {}),
        ([], [feed("ikulu")], {}, {"changed": ["ikulu"], "numbers": [NUMBERS]}),
        ([feed("ikulu")], [feed("ikulu")], {}, {}),
        ([feed("ikulu", 1e6)], [feed("ikulu")], {}, {"numbers": [NUMBERS]}),
        ([feed("ikulu")], [feed("ikulu", state="bad")], {}, {"changed": ["ikulu"]}),
        ([feed("ikulu")], [feed("ikulu", issues=[{"type": "openGop"}])], {}, {"changed": ["ikulu"]}),
        ([feed("ikulu")], [feed("ikulu", on_air=False)], {}, {"changed": ["ikulu"]}),
        ([feed("ikulu")], [], {}, {"changed": ["ikulu"]}),
        ([], [], {"ikulu": " 01.7"}, {"changed": ["ikulu"]}),
        ([], [feed("bunge")], {"bunge": " 02.1"}, {}),  # not a channel of this page's
    ],
)
def test_a_page_is_told_what_concerns_it(
    before: Sequence[Told], after: Sequence[Told], versions: Mapping[str, str], told: Mapping[str, object]
) -> None:
    last, now = beat(before, {}), beat(after, versions)
    assert events(now.told_after(last, ["ikulu"])) == told


def test_a_page_of_all_channels_is_told_of_each() -> None:
    now = beat([feed("bunge"), feed("ikulu"), feed("ikulu", role="backup", feed="f2")], {})
    told = events(now.told_after(Beat(), ["bunge", "ikulu"]))
    assert told["changed"] == ["bunge", "ikulu"]
    assert [sorted(one) for one in told["numbers"]] == [["channel", "primary"], ["backup", "channel", "primary"]]  # type: ignore[attr-defined]
