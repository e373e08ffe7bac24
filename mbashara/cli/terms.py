"""What rows call things, in words, where a command tells them to a person. JSON has the names themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from archive.pages import noted
from archive.recordings.locations.config import LOCAL
from archive.recordings.policy_errors import at
from archive.recordings.statement_text import CAUSES
from core.plain import N_
from core.web.actors import actor
from core.web.dates import duration
from mbashara.words import in_words, say

TERMS = {
    "recording": N_("on the air now"),
    "ended": N_("ended, not closed yet"),
    "complete": N_("closed"),
    "disposed": N_("destroyed"),
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
    "duration_ms": N_("Length"),
    "size_bytes": N_("Size"),
    "ledger_head": N_("Head of the ledger"),
    "signed_at": N_("Signed"),
    "is_signed_whole": N_("Signed to its end"),
    "stamped_at": N_("Time stamp"),
}
HEADINGS = {
    **FIELDS,
    "slug": N_("Short name"),
    "name": N_("Name"),
    "name_sw": N_("Name (Swahili)"),
    "name_en": N_("Name (English)"),
    "institution": N_("Institution"),
    "gaps": N_("Gaps"),
    "waited": N_("Waited"),
    "kind": N_("Kind"),
    "where": N_("Where"),
    "tier": N_("Reading"),
    "fixity_days": N_("Read again after (days)"),
    "lock_days": N_("Locked for (days)"),
    "scopes": N_("Rights"),
    "expires_at": N_("Good until"),
    "revoked_at": N_("Revoked"),
    "last_used_at": N_("Last used"),
    "public_key": N_("Public key"),
    "created_at": N_("In use since"),
    "retired_at": N_("In use until"),
    "years": N_("Years"),
    "set_by": N_("Set by"),
    "set_at": N_("Set"),
    "recording": N_("Recording"),
    "location": N_("Place"),
    "checked_at": N_("Last read again"),
    "fault": N_("Fault"),
    "request": N_("Request"),
    "reason": N_("Reason"),
    "asked_by": N_("Asked for by"),
    "asked_at": N_("Asked for"),
    "decided_by": N_("Decided by"),
    "decision": N_("Why it is refused"),
    "carried_out_at": N_("Carried out"),
    "waits_until": N_("Waits until"),
    "trouble": N_("What hinders it"),
    "out_of_reach": N_("Out of reach"),
}
"""Of lists' columns."""
UNTOLD = {"path", "institution_id", "disposed_at"}
"""What a list for people leaves out: it follows from the number, or says nothing to them."""
EVENTS = {
    "ingestion": N_("ingested"),
    "described": N_("described"),
    "replication": N_("copied"),
    "fixity check": N_("fixity check: every file read again"),
    "recovery": N_("repaired"),
    "export": N_("exported"),
    "information package creation": N_("packaged"),
    "transfer": N_("transferred"),
    "deletion": N_("destroyed"),
    "copy deletion": N_("one place's copy destroyed"),
    "message digest calculation": N_("hashed"),
    "hold placed": N_("hold placed"),
    "hold lifted": N_("hold lifted"),
    "embargo": N_("embargo set"),
    "embargo lifted": N_("embargo lifted"),
    "validation": N_("checked"),
    "creation": N_("made"),
    "policy assignment": N_("retention rule assigned"),
    "disposal asked": N_("disposal asked for"),
    "disposal approved": N_("disposal approved"),
    "disposal refused": N_("disposal refused"),
    "disposal withdrawn": N_("request for disposal withdrawn"),
    "resolve ordered": N_("mending of a copy ordered"),
    "place forgotten": N_("copy given up: its place was forgotten"),
    "foreign files removed": N_("foreign files removed"),
    "papers set aside": N_("papers set aside"),
    "loss accepted": N_("loss put on record"),
    "gaps corrected": N_("gaps corrected"),
}


def value(name: str, given: object) -> str:
    """What a list or a line shows of `given`, the value called `name`."""
    if given is None:
        return say("the whole platform") if name == "institution" else "-"
    if isinstance(given, bool):
        return say("yes") if given else say("no")
    if isinstance(given, list):
        return ", ".join(given) if given and isinstance(given[0], str) else str(len(given))
    if name == "waited" and isinstance(given, dict):
        return duration(given["to_ms"] - given["from_ms"])
    if name == "duration_ms":
        return duration(int(str(given)))
    if name == "size_bytes":
        return size(int(str(given)))
    if given and name.endswith(("_at", "_until")):
        return moment(str(given))
    if name == "location":
        return place(str(given))
    if given and name in NOTED:
        return note(str(given))
    if name in WHO:
        return who(str(given))
    return say(TERMS[str(given)]) if name in NAMED and given in TERMS else str(given)


def moment(iso: str) -> str:
    """2026-11-28 14:00:00 EAT."""
    return f"{at(datetime.fromisoformat(iso))} EAT"


def span(from_ms: int, to_ms: int) -> str:
    """From the beginning of the recording, to the millisecond: 0:25.360 - 0:31.444."""
    return " - ".join(f"{duration(one - one % 1000)}.{one % 1000:03}" for one in (from_ms, to_ms))


def size(size_bytes: int) -> str:
    """As storage is sold, to three figures."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if size_bytes >= 10**power:
            return f"{size_bytes / 10**power:.3g} {unit}"
    return f"{size_bytes} B"


def place(name: str) -> str:
    return say("this machine") if name == LOCAL else name


def table(found: Sequence[Mapping[str, object]]) -> list[str]:
    """A line of headings and one for each; none where nothing was found. All have the same fields."""
    if not found:
        return []
    names = [name for name in found[0] if name not in UNTOLD]
    cells = [[say(HEADINGS[name]) for name in names], *([value(name, one[name]) for name in names] for one in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def listed(found: Sequence[Mapping[str, object]], width: int | None = None) -> list[str]:
    """A table, or where that is wider than `width` characters, a line for each field."""
    lines = table(found)
    if width is None or max(map(len, lines), default=0) <= width:
        return lines
    told = [pairs({name: given for name, given in one.items() if name not in UNTOLD}) for one in found]
    return [line for number, one in enumerate(told) for line in ([""] if number else []) + one]


def pairs(told: Mapping[str, object]) -> list[str]:
    """One thing with much to tell: a line for each field."""
    width = max(len(say(HEADINGS[name])) for name in told)
    return [f"{say(HEADINGS[name]):{width}}  {value(name, given)}" for name, given in told.items()]


def event(kind: str) -> str:
    return say(EVENTS[kind]) if kind in EVENTS else kind


def cause(name: str) -> str:
    return say(CAUSES[name]) if name in CAUSES else name


def who(agent: str) -> str:
    return in_words(lambda language: actor(agent, language))


def note(text: str) -> str:
    """What was noted in English (archive/pages/noted.py)."""
    return in_words(lambda language: noted.tell(text, language, {}))
