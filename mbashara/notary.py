"""The notary, in the work process: has each institution's key sign what its recordings' ledgers have grown by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.recordings import custody, signatures, signing_keys
from archive.recordings.custody import CustodyError
from archive.recordings.signatures import Heads
from archive.recordings.signing_keys import Signer
from archive.recordings.verify import LEDGER_NAME
from core.database import transaction
from core.tables import Recording
from mbashara.settings import Settings

PACE = timedelta(seconds=15)
"""How often a ledger on the air is signed: what was on the air is beyond anyone's hands this much later."""
AT_ONCE = 16
"""Recordings in one transaction, which locks them until all of them are on the disk."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.notary")


class NotSigned(Exception):
    """The files of a recording are not what is known of them."""


@dataclass(slots=True)
class Notary:
    settings: Settings
    engine: Engine
    _failing: set[str] = field(default_factory=set)

    def sign_due(self) -> None:
        """One round. Raises DatabaseAway, having lost nothing: what was signed and not noted is signed again."""
        now = custody.to_ms(datetime.now(UTC))
        with transaction(self.engine) as session:
            due = signatures.due(session, now, PACE)
        for institution_id in {row.institution_id for row in due}:
            self._sign_of(institution_id, [row.id for row in due if row.institution_id == institution_id], now)

    def _sign_of(self, institution_id: int, recording_ids: Sequence[str], now: datetime) -> None:
        """One that can't be signed is told once, and holds up no other."""
        try:
            with transaction(self.engine) as session:
                signer = signing_keys.signer_of(session, institution_id, self.settings.signing_keys, now)
                keys = set(signing_keys.public_keys(session, institution_id))
        except OSError as error:
            self._tell(recording_ids, error)
            return
        for begin in range(0, len(recording_ids), AT_ONCE):
            with transaction(self.engine) as session:
                for recording in signatures.lock_free(session, recording_ids[begin : begin + AT_ONCE]):
                    try:
                        self._sign(session, recording, signer, keys, now)
                        self._failing.discard(recording.id)
                    except (OSError, NotSigned, CustodyError) as error:
                        self._tell([recording.id], error)

    def _tell(self, recording_ids: Iterable[str], error: Exception) -> None:
        for recording_id in set(recording_ids) - self._failing:
            log.error("recording not signed", recording=recording_id, reason=str(error))
        self._failing |= set(recording_ids)

    def _sign(self, session: Session, recording: Recording, signer: Signer, keys: set[bytes], now: datetime) -> None:
        """Not before the files are seen to be what the database read: a folder or a database that was brought back
        from an older day must not be signed as if it were today's."""
        folder = self.settings.recordings / recording.id
        if not signatures.ends_so(folder / LEDGER_NAME, recording.ledger_bytes, recording.ledger_head):
            raise NotSigned(f"{LEDGER_NAME} is not what the database read of it")
        custody.write_file(session, folder, recording, keys)
        heads = Heads(recording.ledger_bytes, recording.ledger_head, recording.custody_bytes, recording.custody_head)
        signatures.sign(folder, recording.id, heads, signer, now)
        recording.signed_bytes, recording.signed_at = heads.ledger_bytes, now
        recording.signed_custody_bytes = heads.custody_bytes
