"""The keys that institutions sign their recordings with: Ed25519, one in use each, retired ones kept.

Public halves are rows and are published at /keys.json; private halves are files that only the service's account reads.
"""

import base64
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from archive.recordings.verify import key_id
from core.tables import Institution, SigningKey

log = structlog.get_logger()


class Signer(NamedTuple):
    """A key in use. `public_key` in base64, 32 bytes."""

    id: str
    public_key: str
    private: Ed25519PrivateKey

    def sign(self, text: bytes) -> str:
        """The signature in base64, 64 bytes."""
        return base64.b64encode(self.private.sign(text)).decode()


def new_signer() -> Signer:
    """A key that nobody knows of yet."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Signer(key_id(public), base64.b64encode(public).decode(), private)


def signer_of(session: Session, institution_id: int, folder: Path, now: datetime) -> Signer:
    """The institution's key in use; a new one where there is none, or where its file was lost. Two that ask at once
    take turns. Raises OSError."""
    session.execute(select(Institution.id).where(Institution.id == institution_id).with_for_update())
    row = session.scalars(
        select(SigningKey).where(SigningKey.institution_id == institution_id, SigningKey.retired_at.is_(None))
    ).one_or_none()
    if row is not None:
        private = _load(folder / f"{row.id}.pem")
        if private is not None:
            return Signer(row.id, row.public_key, private)
        log.error("the file of a signing key is lost; a new key takes its place", key=row.id)
        row.retired_at = now
        session.flush()
    return _make(session, institution_id, folder, now)


def rotate(session: Session, institution_id: int, folder: Path, now: datetime) -> Signer:
    """Retires the key in use and makes a new one."""
    signer = signer_of(session, institution_id, folder, now)
    # Not `now`: before the row was ours, the notary may have signed with it.
    session.get_one(SigningKey, signer.id).retired_at = max(now, datetime.now(UTC))
    session.flush()
    return _make(session, institution_id, folder, now)


def published(session: Session) -> Sequence[Row[SigningKey, Institution]]:
    """Every key that ever signed, oldest first."""
    query = select(SigningKey, Institution).join(Institution, Institution.id == SigningKey.institution_id)
    return session.execute(query.order_by(SigningKey.created_at, SigningKey.id)).all()


def told(session: Session, institution_id: int | None = None) -> list[dict[str, str | None]]:
    """`published` as keys.json has them (`verify.read_keys`); of one institution where it is named."""
    return [
        {
            "id": key.id, "institution": owner.slug, "public_key": key.public_key,
            "created_at": key.created_at.isoformat(),
            "retired_at": None if key.retired_at is None else key.retired_at.isoformat(),
        }
        for key, owner in published(session)
        if institution_id in (None, owner.id)
    ]  # fmt: skip


def public_keys(session: Session, institution_id: int) -> dict[bytes, str | None]:
    """All that it ever published, and when each was retired (None: in use), as `verify.read_keys` gives them."""
    query = select(SigningKey.public_key, SigningKey.retired_at).where(SigningKey.institution_id == institution_id)
    return {
        base64.b64decode(key): None if retired_at is None else retired_at.isoformat()
        for key, retired_at in session.execute(query)
    }


def _make(session: Session, institution_id: int, folder: Path, now: datetime) -> Signer:
    signer = new_signer()
    path = folder / f"{signer.id}.pem"
    fresh = path.with_suffix(".new")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(signer.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        os.fsync(file.fileno())
        if os.geteuid() == 0:  # a command of root's: the service's account, whose folder it is, must read it
            owner = folder.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
    fresh.rename(path)
    session.add(SigningKey(id=signer.id, institution_id=institution_id, public_key=signer.public_key, created_at=now))
    session.flush()
    return signer


def _load(path: Path) -> Ed25519PrivateKey | None:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (FileNotFoundError, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def public_halves(folder: Path) -> set[bytes]:
    """Of the private keys that are here."""
    found = (_load(path) for path in folder.glob("*.pem"))
    return {key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in found if key is not None}
