"""What is said of a file on its way, in the reader's language. Message ids are the English words."""

from pathlib import Path

from archive.imports.jobs import State
from archive.imports.tables import ImportJob
from core.web.i18n import Language, catalogue

LOCALE = Path(__file__).parent.parent / "locale"
STATES = {
    State.UPLOADING: "being sent",
    State.WAITING: "waiting",
    State.RUNNING: "being made, {percent} %",
    State.DONE: "done",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
TROUBLES = {
    "not_media": "This is no video or sound file, whatever its name says.",
    "no_tracks": "There is neither picture nor sound in this file.",
    "encrypted": "This file is encrypted (DRM). Send one that anyone can play.",
    "truncated": "This file is not whole: {read} of {told} can be read.",
    "unreadable": "This file is not whole: it has no index, so nothing of it can be read. Send it again.",
    "too_long": "This file lasts longer than is taken: {told}.",
    "too_big": "This file is larger than is taken.",
    "broken": "The picture or sound of this file can't be decoded.",
    "stalled": "Reading this file came to a standstill at {read}.",
    "disk_full": "The disk is full. Make room and try again.",
    "changed": "What arrived is not what was sent: its size or its SHA-256 is another one. Send it again.",
    "gone": "The file is not there any more. Send it again.",
    "expired": "The upload was not finished in time, and what had come was removed.",
    "fault": "Making the recording failed again and again. The log of the server says why.",
}


def state_in(language: Language, job: ImportJob) -> str:
    words = catalogue(language, LOCALE).gettext(STATES[State(job.state)])
    return words.format(percent=job.percent)


def trouble_in(language: Language, job: ImportJob) -> str:
    """Empty where nothing is wrong."""
    if job.trouble is None:
        return ""
    is_unreadable = job.trouble == "truncated" and not job.read_ms
    words = TROUBLES["unreadable" if is_unreadable else job.trouble]
    text: str = catalogue(language, LOCALE).gettext(words)
    return text.format(read=length(job.read_ms), told=length(job.told_ms))


def told_in(language: Language, job: ImportJob) -> str:
    """Both in one line."""
    trouble = trouble_in(language, job)
    return state_in(language, job) + (f": {trouble}" if trouble else "")


def can_take_short(job: ImportJob) -> bool:
    """Whether there is something in a file that is not whole."""
    return job.state == State.FAILED and job.trouble == "truncated" and bool(job.read_ms) and job.received_bytes > 0


def length(ms: int | None) -> str:
    """ "1:02:03"."""
    minutes, seconds = divmod(round((ms or 0) / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
