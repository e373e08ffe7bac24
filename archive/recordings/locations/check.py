"""Whether a location does what an archive needs: found out by doing it, with a small object that is removed again."""

import secrets
from dataclasses import dataclass

from archive.recordings.locations.config import Location, S3Location
from archive.recordings.locations.errors import Damaged, Locked, Missing, Unsupported
from archive.recordings.locations.store import PROBES, Facilities, Proof, Store

PROBE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Checked:
    """`deletes`: False where the bucket itself keeps every object for a time."""

    facilities: Facilities
    proof: Proof
    deletes: bool


def check_location(store: Store, location: Location) -> Checked:
    """Blocks for some requests. Raises the StoreError of what does not work."""
    facilities = store.facilities()
    if isinstance(location, S3Location) and location.lock_days and not facilities.object_lock:
        raise Unsupported(location.name, f"lock_days: the bucket {location.bucket} has no object lock")
    body = secrets.token_bytes(PROBE_BYTES)
    key = f"{PROBES}/{body[:8].hex()}"
    _expect(store, _is_missing(store, key), f"{key}: there before it was put")
    proof = store.put_bytes(key, body, lock=False).proof
    deletes = True
    try:
        _expect(store, b"".join(store.open(key)) == body, f"{key}: not what was written")
        _expect(store, [found.key for found in store.list(key)] == [key], f"{key}: not listed")
    finally:
        try:
            store.delete(key)
        except Locked:
            deletes = False
    _expect(store, not deletes or _is_missing(store, key), f"{key}: still there after it was deleted")
    return Checked(facilities, proof, deletes)


def _is_missing(store: Store, key: str) -> bool:
    try:
        store.stat(key)
    except Missing:
        return True
    return False


def _expect(store: Store, good: bool, otherwise: str) -> None:
    if not good:
        raise Damaged(store.name, otherwise)
