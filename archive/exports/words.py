"""What is said of an export: its state, and why it was not made."""

from archive.exports.jobs import Format, State, Wrong
from archive.exports.tables import ExportJob
from archive.words import N_, translate
from core.web.i18n import Language

STATES = {
    State.WAITING: N_("waits"),
    State.RUNNING: N_("being made"),
    State.DONE: N_("ready"),
    State.FAILED: N_("failed"),
    State.CANCELLED: N_("cancelled"),
    State.EXPIRED: N_("files removed"),
}
FORMATS = {
    Format.MP4: N_("Picture and sound (MP4)"),
    Format.M4A: N_("Sound alone (M4A)"),
    Format.BAG: N_("Everything, as a package for another archive (BagIt, tar)"),
}
TROUBLES = {
    "destroyed": N_("This recording was destroyed by order."),
    "nothing": N_("Nothing was recorded in that stretch."),
    "no_room": N_("The disk has no room for it. Ask again when there is some."),
    "damaged": N_("A file of the recording is not what it was when it was recorded: {detail}. Nothing goes out until it is repaired."),  # noqa: E501
    "gone": N_("The recording's files are not here."),
    "rendition": N_("The recording has no such quality."),
    "credentials": N_("The content credentials could not be made."),
    "package": N_("The package could not be made: {detail}"),
    "too_long": N_("It took longer than an export may."),
    "fault": N_("A fault of ours: look at the work process's log."),
}  # fmt: skip
WRONGS = {
    Wrong.MANY: N_("This institution has as many unfinished exports as it may have. Wait for one, or cancel one."),
    Wrong.RANGE: N_("The end must be after the beginning, and both within the recording."),
    Wrong.RENDITION: N_("The recording has no such quality."),
    Wrong.ON_AIR: N_("It is still on the air: a package is made when it has ended."),
    Wrong.DESTROYED: TROUBLES["destroyed"],
}


def state_in(language: Language, job: ExportJob) -> str:
    return translate(STATES[State(job.state)], language)


def format_in(language: Language, job: ExportJob) -> str:
    return translate(FORMATS[Format(job.format)], language)


def trouble_in(language: Language, job: ExportJob) -> str:
    if job.trouble is None:
        return ""
    return translate(TROUBLES.get(job.trouble, TROUBLES["fault"]), language).format(detail=job.detail)


def wrong_in(language: Language, wrong: Wrong) -> str:
    return translate(WRONGS[wrong], language)
