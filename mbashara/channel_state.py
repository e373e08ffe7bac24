"""A channel's state as players poll it: state.json in the live window."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog

from core.broadcasts.plan import Message
from core.keys import ChannelEntry
from mbashara.broadcast import Broadcast
from player.files import STATE_NAME, MemoryFolder, write_state

log = structlog.get_logger()

REFUSED_S = 1.0
"""After so long a state that the memory folder refused is written anew."""


class ChannelState:
    """Written as it changes."""

    def __init__(self, folder: MemoryFolder) -> None:
        self._folder = folder
        self._told: object = ()
        self._refused_s: float | None = None

    def remind(self) -> None:
        """A state that somebody took away is written anew."""
        if not self._folder.has(STATE_NAME):
            self._told = ()

    def tell(
        self, entry: ChannelEntry, broadcast: Broadcast | None, last: Broadcast | None, now_s: float, unix_ms: float
    ) -> None:
        """`last`: the one before, which players still find."""
        begun = broadcast is not None and (broadcast.has_begun, broadcast.is_lost, broadcast.has_video)
        brief = (broadcast, begun, last, _message(entry, broadcast), _names(entry))
        if brief == self._told and not self._folder.refuses:
            return
        if self._refused_s is not None and now_s - self._refused_s < REFUSED_S:
            return
        state = _state(entry, broadcast, last)
        if not write_state(self._folder, {**state, "updated_at": _written(unix_ms)}):
            self._refused_s = now_s
            return
        self._told, self._refused_s = brief, None
        log.info("channel", channel=entry.slug, state=state["state"], broadcast=state["broadcast"])


def _state(entry: ChannelEntry, broadcast: Broadcast | None, last: Broadcast | None) -> dict[str, Any]:
    shown = broadcast if broadcast is not None and broadcast.has_begun else last
    message = _message(entry, broadcast)
    said = {"message": None if message is None else asdict(message), "name": _names(entry)}
    if shown is None or shown.cadence is None:
        nothing = {"broadcast": None, "recording": None, "audio_only": False, "started_at": None}
        return {"state": "offline", **nothing, **said}
    state = "ended" if shown.ended else "lost" if shown.is_lost else "live"
    return {
        "state": state,
        "broadcast": shown.identity,
        "recording": f"/recordings/{shown.identity}/index.m3u8" if shown.ended else None,
        "audio_only": not shown.has_video,
        "part_target_s": shown.cadence.part_target_s,
        "part_hold_back_s": shown.cadence.part_hold_back_s,
        "hold_back_s": shown.cadence.hold_back_s,
        "started_at": _written(shown.origin_ms),
        **said,
    }


def _message(entry: ChannelEntry, broadcast: Broadcast | None) -> Message | None:
    """What people tell every player, of the broadcast that has the channel."""
    plan = entry.plan
    if plan is None or (plan.is_automatic and (broadcast is None or broadcast.identity != plan.id)):
        return None
    return plan.message


def _names(entry: ChannelEntry) -> dict[str, str] | None:
    """By language; None where nobody has told us any."""
    return {"sw": entry.name_sw, "en": entry.name_en} if entry.name_sw else None


def _written(unix_ms: float) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")
