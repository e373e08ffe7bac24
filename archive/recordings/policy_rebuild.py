"""The rules that stand on a recording, made again from its custody log: holds, an embargo, the promise, and that it was
destroyed. Accounts are not in files, so people come back by name. A wish that was open is not: it must be asked anew.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from archive.recordings import closures, policy
from archive.recordings.ledger import first_fact, read_facts
from archive.recordings.policy import Wish, wish_of
from archive.recordings.policy_tables import Embargo, Hold, RetentionPromise
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import CUSTODY_NAME, Line
from core.audit import Actor
from core.tables import Recording

REQUESTS = ("disposal_request", "resolution")
NUMBERED = ("hold", "embargo", *REQUESTS)
"""Tables whose next number must lie behind those that came with the files; of REQUESTS the logs alone tell."""

SHUT = (
    "it was closed to the public here, and its papers don't say why"
    " / ilifungwa kwa umma hapa, na nyaraka zake hazisemi kwa nini"
)


def restore(session: Session, recording: Recording, custody: Iterable[Line]) -> None:
    """The recording's row is there, with its copies; events are told in the order that they happened in."""
    owner: dict[str, Any] = {"recording_id": recording.id, "institution_id": recording.institution_id}
    whole: dict[str, Any] = {"duration_ms": recording.duration_ms, "size_bytes": recording.size_bytes}
    holds: dict[int, Hold] = {}
    """By the numbers that they have in the log: another platform's may be taken here."""
    for line in custody:
        at, name = datetime.fromisoformat(line["at"]), str(line["agent"])
        match line["fact"]:
            case "hold placed" if "hold" in line:
                number = line["hold"] if session.get(Hold, line["hold"]) is None else None
                held = {"id": number, "reason": line["detail"], "placed_name": name, "placed_at": at}
                holds[line["hold"]] = Hold(**owner, **held)
                session.add(holds[line["hold"]])
            case "hold lifted" if (hold := holds.get(line.get("hold", 0))) is not None:
                hold.lifted_name, hold.lifted_at = name, at
            case "embargo":
                _lift(session, recording, name, at)
                until = line.get("until")
                session.add(
                    Embargo(
                        **owner, reason=line["detail"], until=None if until is None else datetime.fromisoformat(until),
                        placed_name=name, placed_at=at,
                    )
                )  # fmt: skip
                recording.is_embargoed = True
            case "embargo lifted":
                _lift(session, recording, name, at)
            case "policy assignment" if line.get("rule") == "retention":
                until = None if line["until"] is None else datetime.fromisoformat(line["until"])
                session.merge(RetentionPromise(**owner, until=until, promised_at=at))
            case "ingestion":
                whole = {"duration_ms": line.get("duration_ms"), "size_bytes": line.get("size_bytes")}
            case "deletion" if line["outcome"] == "success" and "location" not in line:
                recording.disposed_at = at
                recording.duration_ms, recording.size_bytes = whole["duration_ms"], whole["size_bytes"]
                copies = update(RecordingCopy).where(RecordingCopy.recording_id == recording.id)
                gone = {"state": "disposed", "next_check_at": None, "ledger_bytes": recording.ledger_bytes}
                session.execute(copies.values(**gone))
        session.flush()


def shut(folder: Path, public: Path, recording_id: str) -> None:
    """Closes a recording to the public, before its files get their place, where they say that an embargo stands. Raises
    OSError; KeyError, TypeError, ValueError where a line is none of ours."""
    wish = _embargo(folder)
    if wish is not None:
        closures.shut(public, recording_id, wish.until)


def _embargo(folder: Path) -> Wish | None:
    """The one that stands at the end of the custody log; of an import that was never closed its ledger alone tells."""
    told = (first_fact(folder) or {}).get("import")
    found = wish_of(told["embargo"]) if isinstance(told, dict) and told.get("embargo") else None
    for line in read_facts(folder, CUSTODY_NAME):
        if line["fact"] == "embargo":
            found = wish_of({"reason": line["detail"], "until": line.get("until")})
        elif line["fact"] == "embargo lifted":
            found = None
    return found


def keep_shut(session: Session, recording_id: str, public: Path, by: Actor, now: datetime) -> None:
    """A recording that was closed to the public here and comes into the catalogue stays closed, though the embargo was
    not in its files yet when the rows were lost, or a command was killed."""
    recording = session.get_one(Recording, recording_id)
    if closures.is_shut(public, recording_id) and not recording.is_embargoed and recording.disposed_at is None:
        policy.grant(session, recording, Wish(SHUT), by=by, now=now)


def _lift(session: Session, recording: Recording, name: str, at: datetime) -> None:
    standing = update(Embargo).where(Embargo.recording_id == recording.id, Embargo.lifted_at.is_(None))
    session.execute(standing.values(lifted_name=name, lifted_at=at))
    recording.is_embargoed = False
