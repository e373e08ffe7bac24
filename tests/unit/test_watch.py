"""When the watching of a closed recording begins: what is put on record."""

from threading import Event, Thread

import pytest

from archive.pages.watch import IDLE_S, Watching


def test_who_pauses_for_long_starts_anew() -> None:
    now_s, noted = 1000.0, list[str]()
    watching = Watching(lambda: now_s)

    def starts(session_id: int, recording_id: str) -> bool:
        before = len(noted)
        watching.asked(session_id, recording_id, lambda: noted.append(recording_id))
        return len(noted) > before

    assert starts(1, "a") and not starts(1, "a") and starts(2, "a") and starts(1, "b")
    now_s += IDLE_S - 1
    assert not starts(1, "a"), "it was asked for all the time"
    now_s += IDLE_S - 1
    assert not starts(1, "a") and starts(2, "a")


def test_no_file_goes_out_before_its_start_is_on_record() -> None:
    watching, done = Watching(), list[str]()
    begun, go_on = Event(), Event()

    def fails() -> None:
        begun.set()
        go_on.wait(60)
        raise OSError

    def first() -> None:
        with pytest.raises(OSError):
            watching.asked(1, "a", fails)
        done.append("first")

    def second() -> None:
        watching.asked(1, "a", lambda: done.append("on record"))
        done.append("second")

    threads = [Thread(target=first), Thread(target=second)]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    threads[1].join(0.2)
    assert done == []
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == ["first", "on record", "second"] and done.index("on record") < done.index("second")
