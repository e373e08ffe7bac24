"""What is said of a file on its way, in the reader's language. Message ids are the English words."""

from archive.imports.jobs import State
from archive.imports.tables import ImportJob
from archive.words import N_, translate
from core.web.i18n import Language

STATES = {
    State.UPLOADING: N_("being sent"),
    State.WAITING: N_("waiting"),
    State.RUNNING: N_("being made, {percent} %"),
    State.DONE: N_("done"),
    State.FAILED: N_("failed"),
    State.CANCELLED: N_("cancelled"),
}
TROUBLES = {
    "not_media": N_("This is no video or sound file, whatever its name says."),
    "no_tracks": N_("There is neither picture nor sound in this file."),
    "encrypted": N_("This file is encrypted (DRM). Send one that anyone can play."),
    "truncated": N_("This file is not whole: {read} of {told} can be read."),
    "unreadable": N_("This file is not whole: it has no index, so nothing of it can be read. Send it again."),
    "too_long": N_("This file lasts longer than is taken: {told}."),
    "broken": N_("The picture or sound of this file can't be decoded."),
    "stalled": N_("Reading this file came to a standstill at {read}."),
    "disk_full": N_("The disk is full. Make room and try again."),
    "changed": N_("What arrived is not what was sent: its size or its SHA-256 is another one. Send it again."),
    "gone": N_("The file is not there any more. Send it again."),
    "expired": N_("The upload was not finished in time, and what had come was removed."),
    "fault": N_("Making the recording failed again and again. The log of the server says why."),
}


def state_in(language: Language, job: ImportJob) -> str:
    return translate(STATES[State(job.state)], language).format(percent=job.percent)


def trouble_in(language: Language, job: ImportJob) -> str:
    """Empty where nothing is wrong."""
    if job.trouble is None:
        return ""
    is_unreadable = job.trouble == "truncated" and not job.read_ms
    words = translate(TROUBLES["unreadable" if is_unreadable else job.trouble], language)
    return words.format(read=length(job.read_ms), told=length(job.told_ms))


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
