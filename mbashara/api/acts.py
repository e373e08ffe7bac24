"""A broadcast led through its life (core/broadcasts/lifecycle.py), and the words for its players."""

import secrets
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from core.broadcasts import acts
from core.broadcasts.lifecycle import Act as Step
from core.broadcasts.lifecycle import State
from core.broadcasts.plan import Level, Message
from core.broadcasts.rights import MESSAGE, RIGHT_OF, audited
from core.ids import RANDOM_BYTES
from mbashara.api.answers import Done, IdempotencyKey, write
from mbashara.api.broadcasts import BroadcastShown, Editor, find, log, shown
from mbashara.api.caller import Anyone, Caller
from mbashara.api.fields import LINE, Sent, UlidPath
from mbashara.api.problems import documented

router = APIRouter(tags=["broadcasts"])
Words = Annotated[str, Field(max_length=acts.MAX_MESSAGE, pattern=LINE)]


class WantedAct(Sent):
    """`expected_state` is the one that the caller has seen: of two who act at once, the second is told."""

    act: Literal[
        Step.REHEARSE, Step.STAND_DOWN, Step.GO_LIVE, Step.UNDO_GO_LIVE, Step.END, Step.UNDO_END, Step.CANCEL,
        Step.ARCHIVE,
    ]  # fmt: skip
    expected_state: State


class MessageSent(Sent):
    """Both languages, at most 280 characters each."""

    sw: Words
    en: Words
    level: Level = "info"


@router.post("/broadcasts/{id}/acts", response_model=BroadcastShown, responses=documented(404, 409, obeyed=200))
def act(caller: Anyone, id: UlidPath, sent: WantedAct, key: IdempotencyKey = None) -> Response:
    """Needs the scope of the act: broadcast.go_live, broadcast.end or broadcast.edit."""
    scope = RIGHT_OF[sent.act]
    caller.need(scope)

    def work(session: Session) -> Done:
        owner = find(session, caller, id).institution_id
        done = acts.act(
            session, owner, id, sent.act, caller.now, sent.expected_state, actor=caller.actor.name,
            randomness=secrets.token_bytes(RANDOM_BYTES),
        )  # fmt: skip
        log(session, caller, done, audited(sent.act), {"state": sent.expected_state}, {"state": done.state})
        after = shown(session, done)
        return Done(after, slug=after.channel)

    return write(caller, work)


@router.put("/broadcasts/{id}/message", response_model=BroadcastShown, responses=documented(404, 409, obeyed=200))
def send_message(caller: Editor, id: UlidPath, sent: MessageSent) -> Response:
    """Words for every player of the channel, while it is this broadcast's."""
    return _tell(caller, id, Message(sent.sw, sent.en, sent.level))


@router.delete("/broadcasts/{id}/message", response_model=BroadcastShown, responses=documented(404, 409, obeyed=200))
def take_message_away(caller: Editor, id: UlidPath) -> Response:
    return _tell(caller, id, None)


def _tell(caller: Caller, broadcast_id: str, message: Message | None) -> Response:
    def work(session: Session) -> Done:
        owner = find(session, caller, broadcast_id).institution_id
        told = acts.send_message(session, owner, broadcast_id, message, actor=caller.actor.name, now=caller.now)
        words = {} if message is None else {"sw": message.sw, "en": message.en, "level": message.level}
        log(session, caller, told, MESSAGE, None, words)
        after = shown(session, told)
        return Done(after, slug=after.channel)

    return write(caller, work)
