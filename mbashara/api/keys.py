"""A channel's stream keys: what is known of them, rotated, revoked, limited to addresses."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from core import channels
from core.channels import MAX_ADDRESSES
from core.database import transaction
from core.keys import Role
from core.staff.permissions import Act
from core.staff.tokens import Read
from core.tables import Channel, StreamKey
from mbashara.api.answers import Done, IdempotencyKey, IfNoneMatch, read, write
from mbashara.api.caller import Caller, holding
from mbashara.api.channels import find, log
from mbashara.api.fields import ChannelPath, Sent
from mbashara.api.problems import Kind, Refused, documented

router = APIRouter(tags=["keys"])
Reader = Annotated[Caller, Depends(holding(Read.CHANNEL))]
Rotator = Annotated[Caller, Depends(holding(Act.KEY_ROTATE))]


class KeyShown(BaseModel):
    """`hint` is the key's end. `allowed_addresses` are networks; none: from anywhere."""

    role: Role
    hint: str
    allowed_addresses: list[str]
    created_at: datetime


class Keys(BaseModel):
    items: list[KeyShown]


class NewKey(BaseModel):
    """Shown this once."""

    role: Role
    key: str


class Addresses(Sent):
    allowed_addresses: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=MAX_ADDRESSES)]


@router.get("/channels/{slug}/keys", response_model=Keys, responses=documented(404))
def list_keys(caller: Reader, slug: ChannelPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        found = channels.keys_in_use(session, find(session, caller, slug).id)
    return read(caller, Keys(items=[_shown(key) for key in found]))


@router.post("/channels/{slug}/keys/{role}/rotate", response_model=NewKey, responses=documented(404, 409, obeyed=200))
def rotate_key(caller: Rotator, slug: ChannelPath, role: Role, key: IdempotencyKey = None) -> Response:
    """A feed that came with the old key goes on; the next one needs the new key."""

    def work(session: Session) -> Done:
        channel = find(session, caller, slug)
        act = channels.act_of_new_key(session, channel.id, role)
        plain = channels.rotate_key(session, slug, role, pepper=caller.api.pepper, now=caller.now)
        log(session, caller, channel, act, None, {"role": role})
        return Done(NewKey(role=role, key=plain), slug=slug, is_secret=True)

    return write(caller, work)


@router.delete("/channels/{slug}/keys/{role}", status_code=204, responses=documented(404, obeyed=204))
def revoke_key(caller: Rotator, slug: ChannelPath, role: Role) -> Response:
    """A feed that came with it is ended."""

    def work(session: Session) -> Done:
        channel = find(session, caller, slug)
        _key(session, channel, role)
        channels.revoke_key(session, slug, role, now=caller.now)
        log(session, caller, channel, "key.revoke", None, {"role": role})
        return Done(status=204, slug=slug)

    return write(caller, work)


@router.put("/channels/{slug}/keys/{role}/addresses", response_model=KeyShown, responses=documented(404, obeyed=200))
def limit_key(caller: Rotator, slug: ChannelPath, role: Role, sent: Addresses) -> Response:
    def work(session: Session) -> Done:
        channel = find(session, caller, slug)
        key = _key(session, channel, role)
        before = {"role": role, "addresses": list(key.allowed_addresses)}
        channels.limit_key(session, slug, role, sent.allowed_addresses)
        session.flush()
        log(session, caller, channel, "key.limit", before, {"role": role, "addresses": list(key.allowed_addresses)})
        return Done(_shown(key), slug=slug)

    return write(caller, work)


def _key(session: Session, channel: Channel, role: Role) -> StreamKey:
    key = channels.find_key(session, channel.id, role)
    if key is None:
        raise Refused(Kind.NOT_FOUND)
    return key


def _shown(key: StreamKey) -> KeyShown:
    role: Role = "primary" if key.role == "primary" else "backup"
    return KeyShown(
        role=role, hint=key.key_hint, allowed_addresses=list(key.allowed_addresses), created_at=key.created_at
    )
