"""Passwords: hashed with argon2id (RFC 9106), checked in the same time whether or not there is one, and not obvious."""

import re
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.problems import Message

MIN_CHARACTERS = 12
MAX_CHARACTERS = 256
MIN_DIFFERENT = 5
HASHER = PasswordHasher()

WORDS = (
    "abc", "abcd", "abcdef", "admin", "administrator", "asdf", "asdfgh", "bunge", "dodoma", "ega", "hello", "ikulu",
    "karibu", "letmein", "login", "mbashara", "neno", "nenosiri", "pass", "password", "passw", "qwerty", "qwertyuiop",
    "serikali", "siri", "tanzania", "test", "uhuru", "user", "welcome", "zanzibar", "zxcvbnm",
)  # fmt: skip
OBVIOUS = re.compile(f"(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})*")
LOOKALIKES = str.maketrans("013457@$!", "oieastasi")
EDGES = re.compile(r"^[^a-z]+|[^a-z]+$")


def problem(password: str, *own_words: str) -> Message | None:
    """Why a person may not take this password. `own_words` are the person's email and names."""
    if len(password) < MIN_CHARACTERS:
        return Message.PASSWORD_SHORT
    if len(password) > MAX_CHARACTERS:
        return Message.PASSWORD_LONG
    if len(set(password)) < MIN_DIFFERENT or _is_obvious(password.lower(), own_words):
        return Message.PASSWORD_OBVIOUS
    return None


def hash_password(password: str) -> str:
    return HASHER.hash(_normalised(password))


def verify(password_hash: str | None, password: str) -> bool:
    """False where there is no hash, after the same work: the time must not tell who has an account."""
    try:
        HASHER.verify(password_hash or _nobodys_hash(), _normalised(password[: MAX_CHARACTERS + 1]))
    except (VerificationError, InvalidHashError):
        return False
    return bool(password_hash)


def needs_rehash(password_hash: str) -> bool:
    """True for a hash made with other costs than today's."""
    return HASHER.check_needs_rehash(password_hash)


def _is_obvious(lowered: str, own_words: tuple[str, ...]) -> bool:
    """Nothing but common or the person's own words, with digits and signs around or instead of letters."""
    letters = _letters(EDGES.sub("", lowered).translate(LOOKALIKES))
    plain = _letters(lowered)
    own = {part for word in own_words for part in re.findall(r"[a-z]{2,}", word.lower())}
    for word in sorted(own, key=len, reverse=True):
        letters, plain = letters.replace(word, ""), plain.replace(word, "")
    return any(OBVIOUS.fullmatch(rest) for rest in (letters, plain))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


def _normalised(password: str) -> str:
    """One form of what keyboards write differently (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


@cache
def _nobodys_hash() -> str:
    return HASHER.hash("no account has this password")
