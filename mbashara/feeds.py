"""What a media process tells of its feeds: who publishes, what was measured, what is wrong, as JSON on its own socket.

GET /feeds                                              every feed that is connected
GET /feeds/keyframe?channel=&role=[&known=]             its newest keyframe and configuration as FLV; 404: none yet
GET /feeds/sound?channel=&role=[&known=]                its last second of sound and configuration as FLV; 404: none yet
GET /feeds/refused                                      encoders that were turned away in the last two minutes
GET /feeds/series?channel=&role=[&step_s=][&from_s=]    a role's series in the last broadcast, at most 400 rows

The edge doesn't pass these on: they name encoders and addresses. Issues are told by type; their words are in
ingest/health/texts.py.
"""

import json
import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from core.media.packet import AudioTrack, Kind, Track, VideoTrack
from core.web.http import Request, response
from ingest.feed import Feed
from mbashara.channel import Channel
from mbashara.channels import Channels
from mbashara.refused import Refused
from transcode.levels.sound import sound_file
from transcode.stills.keyframe import keyframe_file

PATH, SERIES_PATH, KEYFRAME_PATH, SOUND_PATH = "/feeds", "/feeds/series", "/feeds/keyframe", "/feeds/sound"
REFUSED_PATH = "/feeds/refused"
PATHS = frozenset({PATH, SERIES_PATH, KEYFRAME_PATH, SOUND_PATH, REFUSED_PATH})


def answer(channels: Channels, request: Request) -> bytes:
    if request.path == PATH:
        return _json(200, [_feed(channel, feed) for channel, feed in channels.feeds()])
    if request.path == REFUSED_PATH:
        return _json(200, [*(_refused(channel, one) for channel, one in channels.refused()), *_strangers(channels)])
    asked = {name: values[-1] for name, values in parse_qs(request.query).items()}
    if request.path == KEYFRAME_PATH:
        return _keyframe(channels, asked)
    if request.path == SOUND_PATH:
        return _sound(channels, asked)
    found = _series(channels, asked)
    return _json(404, {"error": "no such series"}) if found is None else _json(200, found)


def _keyframe(channels: Channels, asked: dict[str, str]) -> bytes:
    """`known` is the ETag of the one that who asks has already: 304. X-On-Air is 1 where everyone sees the feed at this
    moment and has seen this keyframe: the last one of a rehearsal is newest still when the broadcast begins."""
    channel = channels.channels.get(asked.get("channel", ""))
    feed = channel.feeds.get(asked.get("role", "")) if channel is not None else None
    track = feed.tracks.get(Kind.VIDEO) if feed is not None else None
    if channel is None or feed is None or feed.newest_key is None or not isinstance(track, VideoTrack):
        return _json(404, {"error": "no keyframe"})
    tag = f"{feed.identity}-{feed.newest_key.dts_ms}"
    headers = [("etag", tag), ("x-on-air", str(int(channel.on_air is feed and feed.was_newest_key_aired)))]
    if asked.get("known") == tag:
        return response(304, headers)
    return response(200, [*headers, ("content-type", "video/x-flv")], keyframe_file(track, feed.newest_key))


def _sound(channels: Channels, asked: dict[str, str]) -> bytes:
    """`known` as a keyframe's: 304 where nothing was heard since."""
    channel = channels.channels.get(asked.get("channel", ""))
    feed = channel.feeds.get(asked.get("role", "")) if channel is not None else None
    track = feed.tracks.get(Kind.AUDIO) if feed is not None else None
    if feed is None or not feed.newest_sound or not isinstance(track, AudioTrack):
        return _json(404, {"error": "no sound"})
    tag = f"{feed.identity}-{feed.health.measurer.audio.frames}"
    if asked.get("known") == tag:
        return response(304, [("etag", tag)])
    return response(200, [("etag", tag), ("content-type", "video/x-flv")], sound_file(track, tuple(feed.newest_sound)))


def _series(channels: Channels, asked: dict[str, str]) -> dict[str, Any] | None:
    """None for what is unknown or can't be read."""
    channel = channels.channels.get(asked.get("channel", ""))
    series = channel.series.get(asked.get("role", "")) if channel is not None else None
    try:
        step_s, from_s = int(asked.get("step_s", "1")), float(asked.get("from_s", "0"))
    except ValueError:
        return None
    return series.as_json(step_s, from_s) if series is not None and math.isfinite(from_s) else None


def _feed(channel: Channel, feed: Feed) -> dict[str, Any]:
    return {
        "channel": channel.slug,
        "feed": feed.identity,
        "role": feed.role,
        "on_air": channel.on_air is feed,
        "since": _written(feed.since_ms),
        "address": feed.peer,
        "encoder": feed.encoder,
        "tracks": [_track(track) for _, track in sorted(feed.tracks.items())],
        "measures": _measures(feed),
        "state": feed.health.state,
        "issues": [asdict(issue) for issue in feed.health.issues],
    }


def _refused(channel: Channel, one: Refused) -> dict[str, Any]:
    return {
        "channel": channel.slug, "role": one.role, "why": one.why, "address": one.peer, "at": _written(one.unix_ms),
    }  # fmt: skip


def _strangers(channels: Channels) -> list[dict[str, Any]]:
    """Of no channel; whose it is nobody knows, so where it came from is nobody's to see."""
    at_ms = channels.stranger_ms
    return [] if at_ms is None else [{"channel": "", "role": "", "why": "unknown key", "at": _written(at_ms)}]


def _written(unix_ms: float) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _track(track: Track) -> dict[str, Any]:
    if isinstance(track, VideoTrack):
        return {
            "kind": "video", "codecs": track.codecs, "width": track.width, "height": track.height,
            "frame_rate": track.frame_rate, "interlaced": track.interlaced,
        }  # fmt: skip
    return {
        "kind": "audio", "codecs": track.codecs, "sample_rate_hz": track.timescale, "channels": track.channels,
    }  # fmt: skip


def _measures(feed: Feed) -> dict[str, Any]:
    measures = feed.health.measures
    numbers = {name: value for name, value in asdict(measures).items() if name not in ("drift", "foreign")}
    drift = measures.drift
    return {
        **{name: round(value, 3) if isinstance(value, float) else value for name, value in numbers.items()},
        "drift_ppm": round(drift.ppm) if drift else None,
        "drift_error_ppm": round(drift.error_ppm) if drift else None,
        "other_codecs": sorted({one.codec for one in measures.foreign}),
    }


def _json(status: int, body: object) -> bytes:
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return response(status, headers, json.dumps(body).encode())
