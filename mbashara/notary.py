"""The notary, in the work process: has each institution's key sign what its recordings' ledgers have grown by."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine

from archive.recordings import custody, signatures, signing_keys
from archive.recordings.signatures import Heads
from core.database import transaction
from mbashara.settings import Settings

PACE = timedelta(seconds=15)
"""How often a ledger on the air is signed: what was on the air is beyond anyone's hands this much later."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.notary")


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
            except OSError as error:
                if recording_id not in self._failing:
                    log.error("recording not signed", recording=recording_id, reason=str(error))
                self._failing.add(recording_id)

    def _sign(self, recording_id: str, institution_id: int, now: datetime) -> None:
        with transaction(self.engine) as session:
            signer = signing_keys.signer_of(session, institution_id, self.settings.signing_keys, now)
        with transaction(self.engine) as session:
            recording = signatures.lock(session, recording_id)
            folder = self.settings.recordings / recording_id
            custody.write_file(session, folder, recording)
            heads = Heads(
                recording.ledger_bytes, recording.ledger_head, recording.custody_bytes, recording.custody_head
            )
            signatures.sign(folder, recording_id, heads, signer, now)
            recording.signed_bytes, recording.signed_at = heads.ledger_bytes, now
            recording.signed_custody_bytes = heads.custody_bytes
