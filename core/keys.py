"""Stream keys: made, hashed (keyed BLAKE2b, never stored plain), and the book
of them that media honours even without a database."""

import base64
import hashlib
import ipaddress
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from cryptography.fernet import Fernet
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core.broadcasts.dry_runs import Running, read_running, running
from core.broadcasts.plan import Message, Plan, plans, read_plans
from core.database import mark_of
from core.tables import Channel, StreamKey

Role = Literal["primary", "backup"]
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,128}")
"""What an encoder may send as a key: nothing that a URL would bend. Ours
have 32 characters, taken-over ones at least 8."""
MAX_FORMER = 2000
"""Of keys that were revoked, those of each channel that were last."""
READ = (
    Channel.id, Channel.institution_id, Channel.slug, Channel.name_sw, Channel.name_en, Channel.auto_live,
    Channel.reconnect_window_s, StreamKey.key_hash, StreamKey.channel_id, StreamKey.institution_id, StreamKey.role,
    StreamKey.allowed_addresses, StreamKey.revoked_at,
)  # fmt: skip
"""What of channels and keys media may read (mbashara/media_role.py)."""


class TurnedAway(StrEnum):
    """Why an encoder is turned away whose key is a channel's, or was. A ledger says it in these words."""

    REVOKED = "key revoked"
    ADDRESS = "address not allowed"
    IN_USE = "key in use"


def new_key() -> str:
    """32 characters, 192 bits of chance."""
    return secrets.token_urlsafe(24)


def hash_key(key: str, pepper: bytes) -> str:
    """A keyed hash: a stolen table without the pepper tells nothing, even of a weak taken-over key."""
    return hashlib.blake2b(key.encode(), key=pepper, digest_size=32).hexdigest()


def derived_key(pepper: bytes, purpose: bytes) -> bytes:
    """32 bytes of their own for each purpose (16 bytes at most). `person` keeps them apart from `hash_key`'s hashes."""
    return hashlib.blake2b(key=pepper, person=purpose, digest_size=32).digest()


def seal(secret: str, pepper: bytes, purpose: bytes) -> str:
    """Encrypts a secret that has to be read again, to be stored: a stolen table without the pepper tells nothing."""
    return _box(pepper, purpose).encrypt(secret.encode()).decode()


def unseal(sealed: str, pepper: bytes, purpose: bytes) -> str:
    return _box(pepper, purpose).decrypt(sealed).decode()


def _box(pepper: bytes, purpose: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(derived_key(pepper, purpose)))


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whom a key lets in, and from which networks (none: from anywhere)."""

    channel: str
    channel_id: int
    institution_id: int
    role: Role
    addresses: tuple[str, ...] = ()

    def allows(self, address: str) -> bool:
        """An address that can't be read is none of those allowed."""
        try:
            peer = ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            return not self.addresses
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return not self.addresses or any(peer in ipaddress.ip_network(network) for network in self.addresses)


@dataclass(frozen=True, slots=True)
class ChannelEntry:
    """A channel as media needs it: known even while nobody publishes. `auto_live`: a feed that arrives goes on the
    air by itself; `reconnect_window_s` None: the program's setting; names are for players, dry runs have none."""

    slug: str
    id: int
    institution_id: int
    auto_live: bool = True
    reconnect_window_s: float | None = None
    plan: Plan | None = None
    name_sw: str = ""
    name_en: str = ""


@dataclass(slots=True)
class KeyBook:
    """A snapshot of the keys in use, swapped whole, so that `lookup`
    on the loop may race `refresh` in a thread. `former` are keys that were revoked: they let nobody in.

    `saved_at` is DATA/state/keys.json: hashes only, so that a restart without a database honours known keys.
    """

    pepper: bytes
    saved_at: Path
    channels: tuple[ChannelEntry, ...] = ()
    owners: dict[str, KeyOwner] = field(default_factory=dict)
    former: dict[str, KeyOwner] = field(default_factory=dict)
    _revoked: object = field(default=None, init=False, repr=False)
    _is_saved: bool = field(default=True, init=False, repr=False)
    _index: dict[str, ChannelEntry] = field(default_factory=dict, init=False, repr=False)
    _indexed: tuple[ChannelEntry, ...] = field(default=(), init=False, repr=False)

    def entry(self, slug: str) -> ChannelEntry | None:
        """Asked several times a second for each channel, on the loop alone."""
        channels = self.channels
        if self._indexed is not channels:
            self._index, self._indexed = {one.slug: one for one in channels}, channels
        return self._index.get(slug)

    def lookup(self, key: str) -> KeyOwner | None:
        return self.owners.get(hash_key(key, self.pepper))

    def lookup_former(self, key: str) -> KeyOwner | None:
        """Whose it was, of a key that was revoked."""
        return self.former.get(hash_key(key, self.pepper))

    def load(self) -> None:
        """Takes the last saved snapshot; a missing or torn file leaves the book as it is."""
        try:
            saved = json.loads(self.saved_at.read_text())
            channels = tuple(_channel_from(entry) for entry in saved["channels"])
            owners, former = (
                {hashed: _owner_from(owner) for hashed, owner in told.items()}
                for told in (saved["keys"], saved.get("former", {}))
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return
        self.channels, self.owners, self.former = channels, owners, former

    @staticmethod
    def mark(session: Session) -> str:
        """Of all that `refresh` would read. Media asks every two seconds, while the database is written to for each
        segment: to read the book each time was 3 % of what media does."""
        return str(session.execute(_MARK).one())

    def refresh(self, session: Session) -> bool:
        """Takes the database's keys; true if anything changed. Runs in a
        thread; raises DatabaseAway and changes nothing, or OSError where what is in force can't be saved yet."""
        tests = read_running(session)
        channels, owners, former = _read_channels(session, tests), _read_owners(session, tests), self._former(session)
        changed = (channels, owners, former) != (self.channels, self.owners, self.former)
        self.channels, self.owners, self.former = channels, owners, former
        self._is_saved &= not changed
        if not self._is_saved or not self.saved_at.exists():
            self.save()
            self._is_saved = True
        return changed

    def _former(self, session: Session) -> dict[str, KeyOwner]:
        """They are many, and seldom become more."""
        revoked = session.execute(_last_revoked()).one()
        if revoked == self._revoked:
            return self.former
        former = _read_former(session)
        self._revoked = revoked
        return former

    def save(self) -> None:
        saved = {
            "channels": [asdict(channel) for channel in self.channels],
            "keys": {hashed: asdict(owner) for hashed, owner in self.owners.items()},
            "former": {hashed: asdict(owner) for hashed, owner in self.former.items()},
        }
        temporary = self.saved_at.with_name(f"{self.saved_at.name}.{os.getpid()}")
        temporary.write_text(json.dumps(saved))
        temporary.replace(self.saved_at)


def _channel_from(saved: dict[str, Any]) -> ChannelEntry:
    plan = saved.pop("plan", None)
    return ChannelEntry(**saved, plan=plan and _plan_from(plan))


def _plan_from(saved: dict[str, Any]) -> Plan:
    message = saved.pop("message")
    return Plan(**saved, message=message and Message(**message))


def _owner_from(saved: dict[str, Any]) -> KeyOwner:
    return KeyOwner(**{**saved, "addresses": tuple(saved.get("addresses", ()))})


def _channels() -> Select[str, int, int, bool, float | None, str, str]:
    return select(
        Channel.slug, Channel.id, Channel.institution_id, Channel.auto_live, Channel.reconnect_window_s,
        Channel.name_sw, Channel.name_en,
    ).order_by(Channel.id)  # fmt: skip


def _read_channels(session: Session, tests: list[Running]) -> tuple[ChannelEntry, ...]:
    of_channels, rows = read_plans(session), session.execute(_channels())
    real = tuple(ChannelEntry(*row[:5], of_channels.get(row.id), row.name_sw, row.name_en) for row in rows)
    return real + tuple(ChannelEntry(one.path, one.channel_id, one.institution_id, False, 0, one.plan) for one in tests)


def _keys() -> Select[str, str, int, int, str, list[str]]:
    return select(
        StreamKey.key_hash, Channel.slug, Channel.id, Channel.institution_id, StreamKey.role,
        StreamKey.allowed_addresses,
    ).join(
        Channel,
        (Channel.id == StreamKey.channel_id) & (Channel.institution_id == StreamKey.institution_id),
    )  # fmt: skip


def _in_use() -> Select[str, str, int, int, str, list[str]]:
    return _keys().where(StreamKey.revoked_at.is_(None))


def _last_revoked() -> Select[int, datetime]:
    return select(func.count(StreamKey.revoked_at), func.max(StreamKey.revoked_at))


def _read_former(session: Session) -> dict[str, KeyOwner]:
    """Of each channel the newest before any channel's older ones: who changes keys often takes no other's place."""
    newest = StreamKey.revoked_at.desc()
    rank = func.row_number().over(partition_by=StreamKey.channel_id, order_by=(newest, StreamKey.key_hash))
    revoked = _keys().where(StreamKey.revoked_at.is_not(None)).order_by(rank, newest, StreamKey.key_hash)
    rows = session.execute(revoked.limit(MAX_FORMER))
    return {hashed: KeyOwner(slug, channel, owner, _role(role)) for hashed, slug, channel, owner, role, _ in rows}


def _read_owners(session: Session, tests: list[Running]) -> dict[str, KeyOwner]:
    rows = session.execute(_in_use())
    of_tests = {one.key_hash: KeyOwner(one.path, one.channel_id, one.institution_id, "primary") for one in tests}
    return of_tests | {
        hashed: KeyOwner(slug, channel, owner, _role(role), tuple(addresses))
        for hashed, slug, channel, owner, role, addresses in rows
    }


def _role(text: str) -> Role:
    return "primary" if text == "primary" else "backup"


_MARK = mark_of(running(), plans(), _channels(), _in_use(), _last_revoked())
