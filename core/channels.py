"""Channels and their keys as queries. Each function takes the
session first; the caller owns the transaction."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from core.database import insert
from core.keys import KEY_PATTERN, Role, hash_key, new_key
from core.plain import N_, PlainError
from core.staff.permissions import Scope
from core.tables import Broadcast, Channel, Institution, StreamKey

SLUG_PATTERN = re.compile(r"[a-z0-9-]{1,40}")
MAX_ADDRESSES = 32
MAX_NAME = 200
HINT_CHARACTERS = 4
HINT_FROM_CHARACTERS = 16
"""A shorter key, taken over from elsewhere, would tell too much of itself by its end."""
DEFAULT_INSTITUTION = "ega"
INSTITUTION_NAMES = {DEFAULT_INSTITUTION: ("Mamlaka ya Serikali Mtandao", "e-Government Authority")}


class ChannelError(PlainError, ValueError):
    """What was asked of a channel can't be done; nothing changed."""


@dataclass(frozen=True, slots=True)
class ChannelKeys:
    """A channel with its keys in plain text: exists only between their
    making and the one time they are shown."""

    slug: str
    primary_key: str
    backup_key: str


@dataclass(frozen=True, slots=True)
class ChannelName:
    slug: str
    name_sw: str
    name_en: str
    institution: Institution


def check_slug(slug: str) -> str:
    if not SLUG_PATTERN.fullmatch(slug):
        raise ChannelError(N_("{slug!r} is no slug: 1 to 40 of a-z, 0-9 and -"), slug=slug)
    return slug


def find_channel(session: Session, slug: str) -> Channel | None:
    return session.scalar(select(Channel).where(Channel.slug == slug))


def channel_name(session: Session, slug: str) -> ChannelName | None:
    """For a page's title: the channel's names and whose it is, or None if there is no such channel."""
    channel = find_channel(session, slug)
    if channel is None:
        return None
    owner = session.get_one(Institution, channel.institution_id)
    return ChannelName(channel.slug, channel.name_sw, channel.name_en, owner)


def channels_on_air(session: Session) -> Sequence[Channel]:
    """Those that anyone may watch, the longest on the air first."""
    query = select(Channel).join(Broadcast, Broadcast.channel_id == Channel.id)
    on_air = query.where(Broadcast.state == "live", Broadcast.started_at.is_not(None), Broadcast.visibility == "public")
    return session.scalars(on_air.order_by(Broadcast.started_at)).all()


def list_channels(session: Session) -> Sequence[Row[Channel, Institution]]:
    query = select(Channel, Institution).join(Institution, Institution.id == Channel.institution_id)
    return session.execute(query.order_by(Channel.slug)).all()


def page_of_channels(
    session: Session, visible: Scope, *, after: str = "", limit: int
) -> Sequence[Row[Channel, Institution]]:
    """By slug, those behind `after`."""
    query = select(Channel, Institution).join(Institution, Institution.id == Channel.institution_id)
    mine = query.where(visible.where(Channel.institution_id), Channel.slug > after)
    return session.execute(mine.order_by(Channel.slug).limit(limit)).all()


def ensure_institution(session: Session, slug: str) -> Institution:
    """The institution of that slug, made if new (its names are its
    slug until someone gives it better ones)."""
    named = select(Institution).where(Institution.slug == check_slug(slug))
    institution = session.scalar(named)
    if institution is not None:
        return institution
    name_sw, name_en = INSTITUTION_NAMES.get(slug, (slug, slug))
    made = Institution(slug=slug, name_sw=name_sw, name_en=name_en)
    return made if insert(session, made) else session.scalars(named).one()


def add_channel(
    session: Session,
    slug: str,
    *,
    name_sw: str,
    name_en: str,
    pepper: bytes,
    now: datetime,
    institution: str = DEFAULT_INSTITUTION,
    primary_key: str | None = None,
) -> ChannelKeys:
    """A new channel with a primary and a backup key. `primary_key`
    takes over a key that encoders already have."""
    if find_channel(session, check_slug(slug)) is not None:
        raise _taken(slug)
    if primary_key is not None:
        _check_taken_over(session, primary_key, pepper)
    owner = ensure_institution(session, institution)
    channel = Channel(institution_id=owner.id, slug=slug, name_sw=name_sw, name_en=name_en)
    if not insert(session, channel):
        raise _taken(slug)
    return ChannelKeys(
        slug,
        _add_key(session, channel, "primary", primary_key or new_key(), pepper, now),
        _add_key(session, channel, "backup", new_key(), pepper, now),
    )


def _taken(slug: str) -> ChannelError:
    return ChannelError(N_("channel {slug} exists already"), slug=slug)


def rotate_keys(session: Session, slug: str, *, pepper: bytes, now: datetime) -> ChannelKeys:
    """Revokes both keys of a channel and makes two new ones."""
    return ChannelKeys(
        slug,
        rotate_key(session, slug, "primary", pepper=pepper, now=now),
        rotate_key(session, slug, "backup", pepper=pepper, now=now),
    )


def rotate_key(session: Session, slug: str, role: Role, *, pepper: bytes, now: datetime) -> str:
    """A new key in the place of the old one, from the same addresses. A feed that came with the old one goes on."""
    channel = _channel(session, slug)
    old = find_key(session, channel.id, role)
    if old is not None:
        old.revoked_at = now
        session.flush()
    key = _add_key(session, channel, role, new_key(), pepper, now)
    if old is not None:
        limit_key(session, slug, role, old.allowed_addresses)
    return key


def act_of_new_key(session: Session, channel_id: int, role: Role) -> str:
    """What the audit log calls it: one is rotated where one is in use, else made. Asked before it is done."""
    return "key.make" if find_key(session, channel_id, role) is None else "key.rotate"


def revoke_key(session: Session, slug: str, role: Role, *, now: datetime) -> None:
    """Without a new one: media ends a feed that came with it."""
    key = find_key(session, _channel(session, slug).id, role)
    if key is not None:
        key.revoked_at = now


def limit_key(session: Session, slug: str, role: Role, addresses: Sequence[str]) -> None:
    """The key lets in from these addresses or networks alone; none: from anywhere."""
    key = find_key(session, _channel(session, slug).id, role)
    if key is None:
        raise ChannelError(N_("channel {slug} has no {role} key"), slug=slug, role=role)
    key.allowed_addresses = check_addresses(addresses)


def check_addresses(addresses: Sequence[str]) -> list[str]:
    """Networks as they are kept: 10.1.2.3 becomes 10.1.2.3/32."""
    if len(addresses) > MAX_ADDRESSES:
        raise ChannelError(N_("at most {most} addresses"), most=MAX_ADDRESSES)
    try:
        return [str(ipaddress.ip_network(address.strip(), strict=False)) for address in addresses]
    except ValueError as error:
        raise ChannelError(N_("no address or network: {why}"), why=error) from error


def find_key(session: Session, channel_id: int, role: Role) -> StreamKey | None:
    """The one in use."""
    in_use = (StreamKey.channel_id == channel_id) & (StreamKey.role == role) & StreamKey.revoked_at.is_(None)
    return session.scalar(select(StreamKey).where(in_use))


def keys_in_use(session: Session, channel_id: int) -> Sequence[StreamKey]:
    in_use = (StreamKey.channel_id == channel_id) & StreamKey.revoked_at.is_(None)
    return session.scalars(select(StreamKey).where(in_use).order_by(StreamKey.role.desc())).all()


def set_names(session: Session, slug: str, *, name_sw: str, name_en: str) -> None:
    names = name_sw.strip(), name_en.strip()
    if not all(0 < len(name) <= MAX_NAME for name in names):
        raise ChannelError(N_("a name has 1 to {most} characters"), most=MAX_NAME)
    channel = _channel(session, slug)
    channel.name_sw, channel.name_en = names
    # What a feed began by itself is called as its channel is, while it is on the air.
    automatic = (Broadcast.channel_id == channel.id) & (Broadcast.state == "live") & Broadcast.created_by.is_(None)
    session.execute(update(Broadcast).where(automatic).values(title_sw=names[0], title_en=names[1]))


def set_life(session: Session, slug: str, *, auto_live: bool, reconnect_window_s: float | None) -> None:
    """Whether a feed that arrives goes on the air by itself, and how long such a broadcast waits for a lost one."""
    if reconnect_window_s is not None and reconnect_window_s < 0:
        raise ChannelError(N_("a reconnect window is 0 s or more"))
    channel = _channel(session, slug)
    channel.auto_live, channel.reconnect_window_s = auto_live, reconnect_window_s


def _channel(session: Session, slug: str) -> Channel:
    channel = find_channel(session, check_slug(slug))
    if channel is None:
        raise ChannelError(N_("there is no channel {slug}"), slug=slug)
    return channel


def _check_taken_over(session: Session, key: str, pepper: bytes) -> None:
    if not KEY_PATTERN.fullmatch(key):
        raise ChannelError(N_("a key has 8 to 128 of A-Z, a-z, 0-9, - and _"))
    if session.scalar(select(StreamKey.id).where(StreamKey.key_hash == hash_key(key, pepper))) is not None:
        raise ChannelError(N_("this key is or was another channel's"))


def _add_key(session: Session, channel: Channel, role: Role, key: str, pepper: bytes, now: datetime) -> str:
    session.add(
        StreamKey(
            institution_id=channel.institution_id,
            channel_id=channel.id,
            role=role,
            key_hash=hash_key(key, pepper),
            key_hint=key[-HINT_CHARACTERS:] if len(key) >= HINT_FROM_CHARACTERS else "",
            created_at=now,
        )
    )
    session.flush()
    return key
