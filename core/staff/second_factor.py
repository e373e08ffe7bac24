"""The second factor: time-based codes (RFC 6238) whose secret is kept encrypted, and recovery codes kept hashed."""

import hmac
import secrets
from datetime import datetime

import pyotp
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from core.ids import ALPHABET
from core.keys import hash_key, seal, unseal
from core.staff.tables import RecoveryCode, UserAccount

ISSUER = "Mbashara"
STEP_S = 30
STEPS_AROUND = 1
"""How many steps a phone's clock may be off, either way (RFC 6238, 5.2 advises one)."""
RECOVERY_CODES = 10
PURPOSE = b"totp secrets"


def begin(session: Session, account: UserAccount, *, pepper: bytes) -> str:
    """A new secret, not yet in force, as the otpauth: address that the person's phone takes (shown as a QR code)."""
    account.totp_secret = seal(pyotp.random_base32(), pepper, PURPOSE)
    account.totp_confirmed_at = account.totp_last_step = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == account.id))
    return address(account, pepper=pepper)


def address(account: UserAccount, *, pepper: bytes) -> str:
    """The same once more, for a phone that has not shown that it took it."""
    assert account.totp_secret is not None, "begun before"
    secret = unseal(account.totp_secret, pepper, PURPOSE)
    return pyotp.TOTP(secret, name=account.email, issuer=ISSUER).provisioning_uri()


def remove(session: Session, account: UserAccount) -> None:
    account.totp_secret = account.totp_confirmed_at = account.totp_last_step = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == account.id))


def take_code(session: Session, account: UserAccount, code: str, *, pepper: bytes, now: datetime) -> bool:
    """Whether the code is right and new. A step is taken in one statement, so that of two at once one wins."""
    if account.totp_secret is None:
        return False
    step = matching_step(unseal(account.totp_secret, pepper, PURPOSE), code, now)
    if step is None:
        return False
    last = func.coalesce(UserAccount.totp_last_step, -1)
    taking = update(UserAccount).where(UserAccount.id == account.id, last < step).values(totp_last_step=step)
    return session.scalar(taking.returning(UserAccount.id)) is not None


def take_recovery_code(session: Session, account: UserAccount, code: str, *, pepper: bytes, now: datetime) -> bool:
    mine = (RecoveryCode.user_id == account.id) & (RecoveryCode.code_hash == _hash_code(code, pepper))
    taking = update(RecoveryCode).where(mine, RecoveryCode.used_at.is_(None)).values(used_at=now)
    return session.scalar(taking.returning(RecoveryCode.id)) is not None


def renew_recovery_codes(session: Session, account: UserAccount, *, pepper: bytes) -> tuple[str, ...]:
    """Ten new codes instead of the old ones, to be shown once."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == account.id))
    codes = tuple(_new_code() for _ in range(RECOVERY_CODES))
    session.add_all(RecoveryCode(user_id=account.id, code_hash=_hash_code(code, pepper)) for code in codes)
    session.flush()
    return codes


def recovery_codes_left(session: Session, account: UserAccount) -> int:
    unused = (RecoveryCode.user_id == account.id) & RecoveryCode.used_at.is_(None)
    return session.scalar(select(func.count()).select_from(RecoveryCode).where(unused)) or 0


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The time step that the code is of, if it is one of those around now."""
    current = int(now.timestamp()) // STEP_S
    digits = "".join(code.split())
    totp = pyotp.TOTP(secret, interval=STEP_S)
    for step in range(current - STEPS_AROUND, current + STEPS_AROUND + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), digits.encode()):
            return step
    return None


def _new_code() -> str:
    """50 bits of chance, in two halves for the eye. The alphabet has no i, l, o or u to mistake."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(10))
    return f"{letters[:5]}-{letters[5:]}"


def _hash_code(code: str, pepper: bytes) -> str:
    return hash_key("".join(filter(str.isalnum, code.lower())), pepper)
