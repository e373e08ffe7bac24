"""Channels: listed, added with their keys, changed."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.responses import Response

from core import audit, channels
from core.database import transaction
from core.problems import Message
from core.staff.permissions import Act
from core.staff.tokens import Read
from core.tables import Channel, Institution
from mbashara.api.answers import (
    AfterSlug,
    Done,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Limit,
    PageOf,
    check_unchanged,
    page,
    read,
    write,
)
from mbashara.api.caller import Caller, holding
from mbashara.api.fields import Changes, ChannelPath, Flag, Name, RowId, Seconds, Sent, Slug
from mbashara.api.problems import Kind, Refused, Said, documented, invalid

router = APIRouter(tags=["channels"])
Reader = Annotated[Caller, Depends(holding(Read.CHANNEL))]
Adder = Annotated[Caller, Depends(holding(Act.CHANNEL_ADD))]
Editor = Annotated[Caller, Depends(holding(Act.CHANNEL_EDIT))]


class ChannelShown(BaseModel):
    slug: str
    institution_id: int
    name_sw: str
    name_en: str
    auto_live: bool
    reconnect_window_s: float | None


class ChannelMade(ChannelShown):
    """The keys are shown this once."""

    primary_key: str
    backup_key: str


class NewChannel(Sent):
    """`institution_id` is the token's own where it is not said."""

    slug: Slug
    name_sw: Name
    name_en: Name
    institution_id: RowId | None = None


class ChannelChanges(Changes):
    name_sw: Name = ""
    name_en: Name = ""
    auto_live: Flag = True
    reconnect_window_s: Seconds | None = None


@router.get("/channels", response_model=PageOf[ChannelShown], responses=documented())
def list_channels(
    caller: Reader, limit: Limit = 50, after: AfterSlug = None, if_none_match: IfNoneMatch = None
) -> Response:
    with transaction(caller.api.engine) as session:
        found = channels.page_of_channels(session, caller.bearer.place, after=after or "", limit=limit + 1)
    return read(caller, page(caller.request, [row[0] for row in found], limit, shown, lambda one: one.slug))


@router.post("/channels", status_code=201, response_model=ChannelMade, responses=documented(409, obeyed=201))
def add_channel(caller: Adder, sent: NewChannel, key: IdempotencyKey = None) -> Response:
    def work(session: Session) -> Done:
        institution = owner(session, caller, sent.institution_id)
        if channels.find_channel(session, sent.slug) is not None:
            raise Refused(Kind.CONFLICT, Said("There is a channel {slug} already.", {"slug": sent.slug}))
        keys = channels.add_channel(
            session, sent.slug, name_sw=sent.name_sw, name_en=sent.name_en, institution=institution.slug,
            pepper=caller.api.pepper, now=caller.now,
        )  # fmt: skip
        channel = find(session, caller, sent.slug)
        log(session, caller, channel, Act.CHANNEL_ADD, None, {"name_sw": channel.name_sw, "name_en": channel.name_en})
        made = ChannelMade(**shown(channel).model_dump(), primary_key=keys.primary_key, backup_key=keys.backup_key)
        return Done(made, 201, f"/api/v1/channels/{channel.slug}", channel.slug, is_secret=True)

    return write(caller, work)


@router.get("/channels/{slug}", response_model=ChannelShown, responses=documented(404))
def get_channel(caller: Reader, slug: ChannelPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        return read(caller, shown(find(session, caller, slug)))


@router.patch("/channels/{slug}", response_model=ChannelShown, responses=documented(404, 412, 428, obeyed=200))
def change_channel(caller: Editor, slug: ChannelPath, sent: ChannelChanges, if_match: IfMatch = None) -> Response:
    def work(session: Session) -> Done:
        channel = find(session, caller, slug)
        session.refresh(channel, with_for_update=True)
        before = shown(channel)
        check_unchanged(caller, before)
        _change(session, before.model_copy(update=sent.sent()))
        session.flush()
        after = shown(channel)
        old, new = audit.difference(_told(before), _told(after))
        log(session, caller, channel, Act.CHANNEL_EDIT, old, new)
        return Done(after, slug=slug)

    return write(caller, work)


def find(session: Session, caller: Caller, slug: str) -> Channel:
    """404 for those of other institutions."""
    channel = channels.find_channel(session, slug)
    if channel is None:
        raise Refused(Kind.NOT_FOUND)
    caller.see(channel.institution_id)
    return channel


def log(
    session: Session, caller: Caller, channel: Channel, act: str, before: audit.Facts | None, after: audit.Facts | None
) -> None:
    audit.append(
        session, caller.actor, act, f"channel:{channel.slug}", now=caller.now, institution_id=channel.institution_id,
        before=before, after=after,
    )  # fmt: skip


def shown(channel: Channel) -> ChannelShown:
    return ChannelShown.model_validate(channel, from_attributes=True)


def owner(session: Session, caller: Caller, asked: int | None) -> Institution:
    """Whose a new thing will be: the institution that was asked for, else the token's own."""
    institution_id = asked or caller.bearer.institution_id
    found = (
        session.get(Institution, institution_id)
        if caller.bearer.place.covers(institution_id) and institution_id
        else None
    )
    if found is None:
        raise invalid(("institution_id", Message.PARENT))
    return found


def _change(session: Session, wanted: ChannelShown) -> None:
    channels.set_names(session, wanted.slug, name_sw=wanted.name_sw, name_en=wanted.name_en)
    channels.set_life(session, wanted.slug, auto_live=wanted.auto_live, reconnect_window_s=wanted.reconnect_window_s)


def _told(channel: ChannelShown) -> dict[str, object]:
    """An audit entry holds no floats."""
    window = channel.reconnect_window_s
    return {**channel.model_dump(), "reconnect_window_s": None if window is None else str(window)}
