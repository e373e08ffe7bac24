"""What rows call things, in words, where a command tells them to a person. JSON has the names themselves."""

from archive.pages import noted
from archive.recordings.statement_text import CAUSES
from core.plain import N_
from core.web.actors import actor
from mbashara.words import in_words, say

TERMS = {
    "recording": N_("on the air now"),
    "ended": N_("ended, not closed yet"),
    "complete": N_("closed"),
    "copying": N_("being copied"),
    "whole": N_("whole"),
    "faulty": N_("faulty"),
    "held": N_("stopped, until a person has looked at it"),
    "asked": N_("asked for"),
    "approved": N_("approved"),
    "carrying": N_("being carried out"),
    "done": N_("carried out"),
    "refused": N_("refused"),
    "withdrawn": N_("withdrawn"),
    "folder": N_("folder"),
    "hot": N_("at hand"),
    "cold": N_("slow, or dear"),
    "ever": N_("for ever"),
    "success": N_("it went well"),
    "warning": N_("something was found"),
    "failure": N_("something was found"),
}
NAMED = {"state", "kind", "tier", "years", "outcome"}
"""What holds such a name; any other text is somebody's own."""
NOTED = {"fault", "trouble"}
WHO = {"set_by", "asked_by", "decided_by"}
FIELDS = {
    "id": N_("Number"),
    "channel": N_("Channel"),
    "title_sw": N_("Title (Swahili)"),
    "title_en": N_("Title (English)"),
    "state": N_("State"),
    "started_at": N_("Began"),
    "ended_at": N_("Ended"),
    "duration_ms": N_("Milliseconds"),
    "size_bytes": N_("Bytes"),
    "ledger_head": N_("Head of the ledger"),
    "signed_at": N_("Signed"),
    "is_signed_whole": N_("Signed to its end"),
    "stamped_at": N_("Time stamp"),
}
EVENTS = {
    "ingestion": N_("taken in"),
    "described": N_("described"),
    "replication": N_("copied"),
    "fixity check": N_("every file read again"),
    "recovery": N_("repaired"),
    "export": N_("exported"),
    "information package creation": N_("packaged"),
    "deletion": N_("destroyed"),
    "message digest calculation": N_("hashed"),
    "hold placed": N_("hold placed"),
    "hold lifted": N_("hold lifted"),
    "embargo": N_("embargo set"),
    "embargo lifted": N_("embargo lifted"),
    "validation": N_("checked"),
    "creation": N_("made"),
    "policy assignment": N_("rule assigned"),
    "foreign files removed": N_("foreign files removed"),
    "papers set aside": N_("papers set aside"),
    "loss accepted": N_("loss put on record"),
    "gaps corrected": N_("gaps corrected"),
}


def value(name: str, given: object) -> str:
    """What a list or a line shows of `given`, the value called `name`."""
    if given is None:
        return "-"
    if isinstance(given, bool):
        return say("yes") if given else say("no")
    if isinstance(given, list):
        return str(len(given))
    if given and name in NOTED:
        return note(str(given))
    if name in WHO:
        return who(str(given))
    return say(TERMS[str(given)]) if name in NAMED and given in TERMS else str(given)


def event(kind: str) -> str:
    return say(EVENTS[kind]) if kind in EVENTS else kind


def cause(name: str) -> str:
    return say(CAUSES[name]) if name in CAUSES else name


def who(agent: str) -> str:
    return in_words(lambda language: actor(agent, language))


def note(text: str) -> str:
    """What was noted in English (archive/pages/noted.py)."""
    return in_words(lambda language: noted.tell(text, language, {}))
