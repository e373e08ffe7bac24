"""When the watching of a closed recording begins: what is put on record."""

from archive.pages.watch import IDLE_S, Watching


def test_who_pauses_for_long_starts_anew() -> None:
    now_s = 1000.0
    watching = Watching(lambda: now_s)
    assert (
        watching.starts(1, "a") and not watching.starts(1, "a") and watching.starts(2, "a") and watching.starts(1, "b")
    )
    now_s += IDLE_S - 1
    assert not watching.starts(1, "a"), "it was asked for all the time"
    now_s += IDLE_S - 1
    assert not watching.starts(1, "a") and watching.starts(2, "a")
    watching.forget(2, "a")
    assert watching.starts(2, "a")
