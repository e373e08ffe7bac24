"""The notary, in the work process: has each institution's key sign what its recordings' ledgers have grown by."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine

from archive.recordings import custody, signatures, signing_keys
from archive.recordings.custody import CustodyError
from archive.recordings.signatures import Heads
from archive.recordings.verify import LEDGER_NAME
from core.database import transaction
from mbashara.settings import Settings

PACE = timedelta(seconds=15)
"""How often a ledger on the air is signed: what was on the air is beyond anyone's hands this much later."""

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
        for recording_id, institution_id in due:
            try:
                self._sign(recording_id, institution_id, now)
                self._failing.discard(recording_id)
            except (OSError, NotSigned, CustodyError) as error:
                if recording_id not in self._failing:
                    log.error("recording not signed", recording=recording_id, reason=str(error))
                self._failing.add(recording_id)

    def _sign(self, recording_id: str, institution_id: int, now: datetime) -> None:
        """Not before the files are seen to be what the database read: a folder or a database that was brought back
        from an older day must not be signed as if it were today's."""
        with transaction(self.engine) as session:
            signer = signing_keys.signer_of(session, institution_id, self.settings.signing_keys, now)
            keys = set(signing_keys.public_keys(session, institution_id))
        with transaction(self.engine) as session:
            recording = signatures.lock_free(session, recording_id)
            if recording is None:
                return
            folder = self.settings.recordings / recording_id
            if not signatures.ends_so(folder / LEDGER_NAME, recording.ledger_bytes, recording.ledger_head):
                raise NotSigned(f"{LEDGER_NAME} is not what the database read of it")
            custody.write_file(session, folder, recording, keys)
            heads = Heads(
                recording.ledger_bytes, recording.ledger_head, recording.custody_bytes, recording.custody_head
            )
            signatures.sign(folder, recording_id, heads, signer, now)
            recording.signed_bytes, recording.signed_at = heads.ledger_bytes, now
            recording.signed_custody_bytes = heads.custody_bytes
