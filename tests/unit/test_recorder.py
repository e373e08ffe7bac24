"""The recorder's word on the disk: refused until the like of what was refused is taken again."""

from pathlib import Path

from archive.recordings.recorder import Recorder

FULL = OSError(28, "No space left on device")


def test_a_disk_that_takes_the_sound_and_no_picture_is_failing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.refuse("jioni", "source", FULL)
    recorder.refuse("jioni", "", FULL)
    recorder.take_again("jioni", "", "source-audio")
    recorder.take_again("asubuhi")
    assert recorder.failing
    recorder.take_again("jioni", "", "source")
    assert not recorder.failing


def test_a_recording_that_is_over_holds_no_alarm(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.refuse("jioni", "source", FULL)
    recorder.refuse("asubuhi", "source", FULL)
    recorder.take_again("jioni")
    assert recorder.failing
    recorder.take_again("asubuhi")
    assert not recorder.failing
