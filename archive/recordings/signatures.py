"""Signs recordings' ledgers: a line of `signatures.jsonl` says what the ledger and the custody log were at a time.

What is signed and how it is checked is in `verify.py`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import ARRAY, Exists, Row, Select, Text, any_, literal, or_, select
from sqlalchemy.orm import Session

from archive.recordings.ledger import GENESIS, Fact, Ledger, hash_of
from archive.recordings.signing_keys import Signer
from archive.recordings.verify import SIGNATURES_NAME, signed_text
from core.database import NOW, Moment, is_any
from core.tables import Recording


@dataclass(frozen=True, slots=True)
class Heads:
    """How far the ledger and the custody log of a recording reach, in bytes, and the hashes of their last lines."""

    ledger_bytes: int
    ledger_head: str
    custody_bytes: int = 0
    custody_head: str = GENESIS


def sign(folder: Path, recording_id: str, heads: Heads, signer: Signer, now: datetime) -> Fact:
    """Appends a signature to the recording's folder, and waits for the disk. Raises OSError."""
    signatures = Ledger(folder, SIGNATURES_NAME)
    line: Fact = {
        "recording": recording_id,
        "at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "ledger_bytes": heads.ledger_bytes,
        "ledger_head": heads.ledger_head,
        "custody_bytes": heads.custody_bytes,
        "custody_head": heads.custody_head,
        "key": signer.public_key,
    }
    line["signature"] = signer.sign(signed_text(recording_id, {**line, "prev": signatures.head}))
    signatures.append(line)
    with (folder / SIGNATURES_NAME).open("rb") as file:
        os.fsync(file.fileno())
    return line


def due(session: Session, now: datetime, pace: timedelta) -> Sequence[Row[str, int]]:
    """Recordings (and their institutions) with a ledger or a custody log that has grown since the last signature: those
    on the air once in `pace`, ended ones at once."""
    return session.execute(_due(now, pace)).all()


def is_due(pace: timedelta) -> Exists:
    """A question for the bell."""
    return is_any(_due(NOW, pace))


def _due(now: Moment, pace: timedelta) -> Select[str, int]:
    return select(Recording.id, Recording.institution_id).where(
        or_(
            Recording.signed_bytes < Recording.ledger_bytes,
            Recording.signed_custody_bytes < Recording.custody_bytes,
        ),
        or_(
            Recording.state != "recording",
            Recording.signed_at.is_(None),
            Recording.signed_at <= now - pace,
            Recording.signed_at > now + pace,  # the clock jumped
        ),
    )


def lock_free(session: Session, recording_ids: Sequence[str]) -> Sequence[Recording]:
    """As `lock`, without those that another holds, or that are gone (a dry run's)."""
    query = select(Recording).where(Recording.id == any_(literal(recording_ids, ARRAY(Text))))
    return session.scalars(query.with_for_update(skip_locked=True)).all()


def ends_so(path: Path, size: int, head: str) -> bool:
    """Whether the file has a line that ends at `size` bytes and whose hash is `head`."""
    if size == 0:
        return head == GENESIS
    with path.open("rb") as file:
        begin, step, tail = size, 1 << 16, b""
        while begin > 0 and tail.count(b"\n", 0, -1) == 0:
            begin = max(0, begin - step)
            file.seek(begin)
            tail = file.read(size - begin)
    return len(tail) == size - begin and tail.endswith(b"\n") and hash_of(tail.splitlines()[-1]) == head


def lock(session: Session, recording_id: str) -> Recording:
    """One process at a time writes to a recording's signatures."""
    return session.get_one(Recording, recording_id, with_for_update=True)
