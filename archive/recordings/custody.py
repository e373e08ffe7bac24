"""The custody log of a recording: what was done to it after it was on the air, in PREMIS' words, chained by hash.

An event is a row first, in the transaction of what it tells of; the notary writes its line into the recording's own
custody.jsonl and signs that. So rows and files say the same, and either can be made again from the other.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from archive.recordings.ledger import hash_of, line_of, read_facts
from archive.recordings.locations.config import LOCAL
from archive.recordings.tables import PreservationEvent, RecordingCopy
from archive.recordings.verify import CUSTODY_NAME, SIGNATURES_NAME, check_ed25519, signed_text
from core.tables import Recording

PROGRAM = "mbashara"
"""The agent of what nobody asked for."""


def append(
    session: Session, recording_id: str, kind: str, now: datetime, *, outcome: str = "success", agent: str = PROGRAM,
    **detail: Any,
) -> PreservationEvent:  # fmt: skip
    """Adds an event in the caller's transaction. `kind` is a word of PREMIS' event types where it has one; `detail` is
    JSON. Others who append to the same recording wait."""
    recording = session.get_one(Recording, recording_id, with_for_update=True)
    now = to_ms(now)
    fact = {"fact": kind, "at": now.isoformat(timespec="milliseconds"), "outcome": outcome, "agent": agent, **detail}
    line = line_of(fact, recording.custody_head)
    event = PreservationEvent(
        recording_id=recording_id, institution_id=recording.institution_id, at=now, kind=kind, outcome=outcome,
        agent=agent, line=line.decode().rstrip("\n"),
    )  # fmt: skip
    session.add(event)
    recording.custody_head = hash_of(line)
    recording.custody_bytes += len(line)
    others = and_(RecordingCopy.recording_id == recording_id, RecordingCopy.location != LOCAL)
    session.execute(update(RecordingCopy).where(others).values(papers_due=True))
    session.flush()
    return event


def deed(kind: str, line: Mapping[str, Any]) -> str:
    """What an event is to people: PREMIS has one word for rules of retention and for what people order,
    and one for a recording that is destroyed and for a copy that is."""
    if kind == "deletion" and "location" in line:
        return "copy deletion"
    is_rule = kind != "policy assignment" or line.get("rule", "retention") == "retention"
    return kind if is_rule else f"{line['rule']} {line.get('act', '')}"


def to_ms(now: datetime) -> datetime:
    """As exact as a file tells it, so that rows made again from files are the same."""
    return now.astimezone(UTC).replace(microsecond=now.microsecond // 1000 * 1000)


class CustodyError(Exception):
    """The file says other things than the rows. Neither is touched and nothing is signed until a person has looked."""


def write_file(session: Session, folder: Path, recording: Recording, keys: set[bytes]) -> None:
    """Brings custody.jsonl up to the rows; or the rows up to the file, where it goes on and that is signed by one of
    `keys` (the database was restored from an older day). Raises OSError, CustodyError."""
    path = folder / CUSTODY_NAME
    if path.is_symlink():
        raise CustodyError(f"{CUSTODY_NAME} is a link")
    found = path.read_bytes() if path.exists() else b""
    if not found and recording.custody_bytes == 0:
        return
    whole = b"".join(line.encode() + b"\n" for line in lines(session, recording.id))
    if found == whole:
        return
    if not whole.startswith(found):
        try:
            with session.begin_nested():  # all of it or nothing
                if not found.startswith(whole) or not _adopt(session, folder, recording, found, len(whole), keys):
                    raise CustodyError(f"{CUSTODY_NAME} says other things than the database")
        except (ValueError, KeyError, TypeError) as error:  # of a damaged line
            raise CustodyError(f"{CUSTODY_NAME} is longer than the database, and its signature is damaged") from error
        return
    with path.open("ab") as file:
        file.write(whole[len(found) :])
        file.flush()
        os.fsync(file.fileno())


def _adopt(session: Session, folder: Path, recording: Recording, found: bytes, begin: int, keys: set[bytes]) -> bool:
    """Takes lines behind `begin` into the rows; False where they are not all signed."""
    signed = [line for line in read_facts(folder, SIGNATURES_NAME) if "signature" in line][-1:]
    if not signed or int(signed[0]["custody_bytes"]) != len(found) or not found.endswith(b"\n"):
        return False
    key, signature = base64.b64decode(signed[0]["key"]), base64.b64decode(signed[0]["signature"])
    lines_ = found.splitlines(keepends=True)
    if key not in keys or signed[0]["custody_head"] != hash_of(lines_[-1]):
        return False
    if not check_ed25519(key, signed_text(recording.id, signed[0]), signature):
        return False
    for raw in found[begin:].splitlines(keepends=True):
        fact = json.loads(raw)
        if fact["prev"] != recording.custody_head:
            return False
        session.add(
            PreservationEvent(
                recording_id=recording.id, institution_id=recording.institution_id,
                at=datetime.fromisoformat(fact["at"]), kind=fact["fact"], outcome=fact["outcome"], agent=fact["agent"],
                line=raw.decode().rstrip("\n"),
            )
        )  # fmt: skip
        recording.custody_head, recording.custody_bytes = hash_of(raw), recording.custody_bytes + len(raw)
        session.flush()
    return True


def lines(session: Session, recording_id: str) -> Sequence[str]:
    query = select(PreservationEvent.line).where(PreservationEvent.recording_id == recording_id)
    return session.scalars(query.order_by(PreservationEvent.id)).all()


def events(session: Session, recording_id: str, limit: int = 200) -> Sequence[PreservationEvent]:
    """Newest first."""
    query = select(PreservationEvent).where(PreservationEvent.recording_id == recording_id)
    return session.scalars(query.order_by(PreservationEvent.id.desc()).limit(limit)).all()
