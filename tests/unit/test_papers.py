"""Papers that grow while they are read: what is on the air is not called forged for it."""

from functools import partial
from pathlib import Path

from archive.pages.papers import YOUNG_S, Papers, settled
from archive.recordings import verify
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.verify import LEDGER_NAME, Report
from tests.unit.recording_kit import PUBLIC_KEY, make_recording, sign


def test_a_signature_that_came_while_the_ledger_was_read_is_no_forgery(tmp_path: Path) -> None:
    place = make_recording(tmp_path, is_over=False)
    ledger = place / LEDGER_NAME
    read = ledger.read_bytes()
    Ledger(place).append(make_fact("lost", 1, at_ms=1, cause="feed lost"))
    sign(place)
    written = ledger.read_bytes()
    looks = [read, written]

    def look() -> Report:
        """As whoever reads the ledger first and the signatures then finds it."""
        ledger.write_bytes(looks.pop(0))
        found = verify.verify(place, with_media=False, on_air=True)
        if looks:
            ledger.write_bytes(written)
        return found

    assert settled(place, look, lambda one: one.is_whole).is_whole and looks == []
    ledger.write_bytes(read)
    cut = partial(verify.verify, place, with_media=False, on_air=True)
    assert not settled(place, cut, lambda one: one.is_whole).is_whole, "nothing grows here: it is cut"


def test_on_the_air_they_are_read_again_after_a_while_however_they_grow(tmp_path: Path) -> None:
    place, now_s = make_recording(tmp_path, is_over=False), 100.0
    papers = Papers(lambda: now_s)

    def signed(on_air: bool = True) -> int:
        Ledger(place).append(make_fact("lost", 1, at_ms=1, cause="feed lost"))
        sign(place)
        found = papers.report(place, {PUBLIC_KEY}, on_air)
        assert found is not None
        return found.signatures

    assert (signed(), signed(), signed(on_air=False), signed(on_air=False)) == (2, 2, 4, 5)
    assert (signed(), signed()) == (6, 6)
    now_s += YOUNG_S
    assert (signed(), signed()) == (8, 8)
    papers.forget(place)
    assert signed() == 10
