"""Identifiers of broadcasts and recordings: ULIDs (48 bits of
milliseconds, 80 of chance) in lower-case Crockford base 32."""

import re
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BYTES = 10
ID_PATTERN = re.compile(f"[0-7][{ALPHABET}]{{25}}")


def ulid(unix_ms: int, randomness: bytes) -> str:
    """26 characters that sort by time. `randomness` is 10 bytes (`secrets.token_bytes(RANDOM_BYTES)`)."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a ULID takes {RANDOM_BYTES} random bytes, not {len(randomness)}")
    number = unix_ms << 80 | int.from_bytes(randomness, "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def new_id(at: datetime, randomness: bytes) -> str:
    return ulid(round(at.timestamp() * 1000), randomness)


def is_id(text: str) -> bool:
    return ID_PATTERN.fullmatch(text) is not None
