"""Has a time-stamp authority (RFC 3161) say when a signature existed: once an hour on the air, and at the end."""

import base64
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine, or_, select, update

from archive.recordings import custody, signatures
from archive.recordings.ledger import Fact, Ledger, read_facts
from archive.recordings.tables import RecordingCopy
from archive.recordings.timestamp import Authority, TimestampError, stamp
from archive.recordings.verify import SIGNATURES_NAME
from core.database import transaction
from core.tables import Recording
from mbashara import workflows
from mbashara.settings import Settings
from mbashara.timestamps import authority

ROUND_S = 5.0
PACE = timedelta(hours=1)
RETRY = timedelta(minutes=1)

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.stamper")


@dataclass(slots=True)
class Stamper:
    """An authority that does not answer delays nothing but its stamps: it has a thread of its own."""

    settings: Settings
    engine: Engine
    authority: Authority
    _wait_until: dict[str, datetime] = field(default_factory=dict)

    def run(self, stopping: threading.Event) -> None:
        workflows.go_round("time stamps", lambda: self.stamp_due(datetime.now(UTC)), ROUND_S, stopping)

    def stamp_due(self, now: datetime) -> None:
        with transaction(self.engine) as session:
            due = session.scalars(
                select(Recording.id).where(
                    Recording.stamped_bytes < Recording.signed_bytes,
                    or_(
                        Recording.state == "complete",
                        Recording.stamped_at.is_(None),
                        Recording.stamped_at <= now - PACE,
                    ),
                )
            ).all()
        for recording_id in due:
            if self._wait_until.get(recording_id, now) <= now:
                self._stamp(recording_id, now)

    def _stamp(self, recording_id: str, now: datetime) -> None:
        """One that was killed behind its line, before the row said so, has stamped it: it is not stamped twice."""
        folder = self.settings.recordings / recording_id
        try:
            lines = list(read_facts(folder, SIGNATURES_NAME))
            signed = [line for line in lines if "signature" in line][-1]
            known = [line for line in lines if "timestamp" in line and line["of"] == signed["signature"]]
            line = known[0] if known else self._line_of(signed["signature"])
            with transaction(self.engine) as session:
                recording = signatures.lock(session, recording_id)
                if not known:
                    Ledger(folder, SIGNATURES_NAME).append(line)
                recording.stamped_bytes = int(signed["ledger_bytes"])
                recording.stamped_at = datetime.fromisoformat(line["at"])
                session.execute(
                    update(RecordingCopy).where(RecordingCopy.recording_id == recording_id).values(papers_due=True)
                )
        except (TimestampError, OSError, IndexError) as error:
            if recording_id not in self._wait_until:
                log.warning("no time stamp", recording=recording_id, reason=str(error))
            self._wait_until[recording_id] = now + RETRY
            return
        self._wait_until.pop(recording_id, None)

    def _line_of(self, signature: str) -> Fact:
        """Asks for a stamp. Raises TimestampError."""
        got = stamp(self.authority, base64.b64decode(signature))
        if got.is_clock_doubtful:
            log.error("a clock is wrong, ours or the authority's", apart_s=got.apart.total_seconds())
        return {
            "at": custody.to_ms(datetime.now(UTC)).isoformat(timespec="milliseconds"), "of": signature,
            "timestamp": base64.b64encode(got.response).decode(),
        }  # fmt: skip


def start(settings: Settings, engine: Engine, stopping: threading.Event) -> None:
    """Nothing where no authority is set."""
    try:
        found = authority(settings)
    except TimestampError as error:
        log.error("no time stamps", reason=str(error))
        return
    if found is not None:
        threading.Thread(
            target=Stamper(settings, engine, found).run, args=(stopping,), name="stamper", daemon=True
        ).start()
