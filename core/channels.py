"""Channels and their keys as queries. Each function takes the
session first; the caller owns the transaction."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from core.keys import KEY_PATTERN, Role, hash_key, new_key
from core.tables import Broadcast, Channel, Institution, StreamKey

SLUG_PATTERN = re.compile(r"[a-z0-9-]{1,40}")
DEFAULT_INSTITUTION = "ega"
INSTITUTION_NAMES = {DEFAULT_INSTITUTION: ("Mamlaka ya Serikali Mtandao", "e-Government Authority")}


class ChannelError(ValueError):
    """What was asked of a channel can't be done; said in English and Swahili, nothing changed."""


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


def check_slug(slug: str) -> str:
    if not SLUG_PATTERN.fullmatch(slug):
        raise ChannelError(
            f"{slug!r} is no slug: 1 to 40 of a-z, 0-9 and - / si jina fupi sahihi: herufi 1 hadi 40 za a-z, 0-9 na -"
        )
    return slug


def find_channel(session: Session, slug: str) -> Channel | None:
    return session.scalar(select(Channel).where(Channel.slug == slug))


def channel_name(session: Session, slug: str) -> ChannelName | None:
    """For a page's title: the channel's names, or None if there is no such channel."""
    channel = find_channel(session, slug)
    return None if channel is None else ChannelName(channel.slug, channel.name_sw, channel.name_en)


def channels_on_air(session: Session) -> Sequence[Channel]:
    query = select(Channel).join(Broadcast, Broadcast.channel_id == Channel.id).where(Broadcast.state == "live")
    return session.scalars(query.order_by(Broadcast.started_at)).all()


def list_channels(session: Session) -> Sequence[Row[Channel, Institution]]:
    query = select(Channel, Institution).join(Institution, Institution.id == Channel.institution_id)
    return session.execute(query.order_by(Channel.slug)).all()


def ensure_institution(session: Session, slug: str) -> Institution:
    """The institution of that slug, made if new (its names are its
    slug until someone gives it better ones)."""
    institution = session.scalar(select(Institution).where(Institution.slug == check_slug(slug)))
    if institution is None:
        name_sw, name_en = INSTITUTION_NAMES.get(slug, (slug, slug))
        institution = Institution(slug=slug, name_sw=name_sw, name_en=name_en)
        session.add(institution)
        session.flush()
    return institution


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
        raise ChannelError(f"channel {slug} exists already / chaneli {slug} ipo tayari")
    if primary_key is not None:
        _check_taken_over(session, primary_key, pepper)
    owner = ensure_institution(session, institution)
    channel = Channel(institution_id=owner.id, slug=slug, name_sw=name_sw, name_en=name_en)
    session.add(channel)
    session.flush()
    return ChannelKeys(
        slug,
        _add_key(session, channel, "primary", primary_key or new_key(), pepper, now),
        _add_key(session, channel, "backup", new_key(), pepper, now),
    )


def rotate_keys(session: Session, slug: str, *, pepper: bytes, now: datetime) -> ChannelKeys:
    """Revokes both keys of a channel and makes two new ones."""
    channel = find_channel(session, check_slug(slug))
    if channel is None:
        raise ChannelError(f"there is no channel {slug} / hakuna chaneli {slug}")
    in_use = (StreamKey.channel_id == channel.id) & StreamKey.revoked_at.is_(None)
    session.execute(update(StreamKey).where(in_use).values(revoked_at=now))
    return ChannelKeys(
        slug,
        _add_key(session, channel, "primary", new_key(), pepper, now),
        _add_key(session, channel, "backup", new_key(), pepper, now),
    )


def _check_taken_over(session: Session, key: str, pepper: bytes) -> None:
    if not KEY_PATTERN.fullmatch(key):
        raise ChannelError(
            "a key has 8 to 128 of A-Z, a-z, 0-9, - and _ / ufunguo una herufi 8 hadi 128 za A-Z, a-z, 0-9, - na _"
        )
    if session.scalar(select(StreamKey.id).where(StreamKey.key_hash == hash_key(key, pepper))) is not None:
        raise ChannelError("this key is or was another channel's / ufunguo huu ni au ulikuwa wa chaneli nyingine")


def _add_key(session: Session, channel: Channel, role: Role, key: str, pepper: bytes, now: datetime) -> str:
    session.add(
        StreamKey(
            institution_id=channel.institution_id,
            channel_id=channel.id,
            role=role,
            key_hash=hash_key(key, pepper),
            created_at=now,
        )
    )
    session.flush()
    return key
