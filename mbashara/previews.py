"""The engineers' preview over HTTP (WHEP), on a media process's own socket: the web process asks for who may.

POST   /preview?channel=&role=          an SDP offer: 201, Location and the answer; or why not, in every language
DELETE /preview/ID?channel=             204: the viewer takes leave
GET    /preview/meters?channel=&role=   audio levels of a feed that is watched; 404 where nobody watches

The edge doesn't pass these on. The media itself goes by UDP from a port that the system chooses.
"""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from core.web.http import Request, response
from ingest.feed import Feed
from ingest.preview.refusals import STATUS, PreviewRefused, Reason, explain
from mbashara.channels import Channels

if TYPE_CHECKING:
    from ingest.preview.whep import Previews

PATH, METERS_PATH = "/preview", "/preview/meters"
NO_STORE = ("cache-control", "no-store")
RETRY_AFTER_S = 10


class PreviewDoor:
    """What previews stand on is loaded at the first one, in a thread: it takes a second."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._previews: Previews | None = None

    async def __call__(self, request: Request) -> bytes:
        asked = {name: values[-1] for name, values in parse_qs(request.query).items()}
        if request.method == "POST" and request.path == PATH:
            return await self._offer(asked, request.body.decode(errors="replace"))
        if request.method == "DELETE":
            return self._delete(request.path.removeprefix(f"{PATH}/"), asked.get("channel", ""))
        if request.path == METERS_PATH:
            return self._meters(asked)
        return response(405, [("allow", "POST, DELETE")])

    async def close(self) -> None:
        if self._previews is not None:
            await self._previews.close()

    async def _offer(self, asked: dict[str, str], sdp: str) -> bytes:
        try:
            self._feed_or_refuse(asked)
            previews = await self._load()
            feed = self._feed_or_refuse(asked)  # again: loading takes a while, and a feed may end in it
            answer = await previews.offer(feed, sdp)
        except PreviewRefused as refused:
            return await asyncio.to_thread(_refusal, refused.reason)
        location = f"{PATH}/{answer.identity}?channel={feed.channel}"
        headers = [("content-type", "application/sdp"), ("location", location), NO_STORE]
        return response(201, headers, answer.sdp.encode())

    def _delete(self, identity: str, channel: str) -> bytes:
        ended = self._previews is not None and self._previews.end(identity, channel)
        return response(204 if ended else 404, [NO_STORE])

    def _meters(self, asked: dict[str, str]) -> bytes:
        feed = self._feed(asked)
        watched = self._previews.watched(feed) if feed is not None and self._previews is not None else None
        return _json(404, {"error": "not watched"}) if watched is None else _json(200, asdict(watched))

    def _feed(self, asked: dict[str, str]) -> Feed | None:
        channel = self._channels.channels.get(asked.get("channel", ""))
        return channel.feeds.get(asked.get("role", "")) if channel is not None else None

    def _feed_or_refuse(self, asked: dict[str, str]) -> Feed:
        feed = self._feed(asked)
        if feed is None:
            raise PreviewRefused(Reason.NO_FEED)
        return feed

    async def _load(self) -> "Previews":
        previews = await asyncio.to_thread(_previews_class)
        if self._previews is None:
            self._previews = previews()
        return self._previews


def _previews_class() -> "type[Previews]":
    from ingest.preview.whep import Previews

    return Previews


def _refusal(reason: Reason) -> bytes:
    more = [("retry-after", str(RETRY_AFTER_S))] if STATUS[reason] == 503 else []
    return _json(STATUS[reason], {"refused": reason, "text": explain(reason)}, more)


def _json(status: int, body: object, headers: list[tuple[str, str]] | None = None) -> bytes:
    return response(
        status, [("content-type", "application/json"), NO_STORE, *(headers or [])], json.dumps(body).encode()
    )
