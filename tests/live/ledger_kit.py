"""Ledgers of a test's own making."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from archive.recordings import rows
from archive.recordings.ledger import GENESIS, Fact, hash_of, line_of
from core.tables import Recording


def ledger(*facts: Fact, head: str = GENESIS) -> bytes:
    """Chained lines that follow the one whose hash is `head`."""
    lines = []
    for fact in facts:
        lines.append(line_of(fact, head))
        head = hash_of(lines[-1])
    return b"".join(lines)


def tell(session: Session, recording_id: str, *facts: Fact) -> int:
    """Applies facts that follow those applied already."""
    head = session.scalar(select(Recording.ledger_head).where(Recording.id == recording_id)) or GENESIS
    return rows.apply(session, recording_id, ledger(*facts, head=head))
