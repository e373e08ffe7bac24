"""Owns our rule checker for HLS and LL-HLS: draft-pantos-hls-rfc8216bis-22, Apple's authoring rules, CMAF.

Pure functions from text and bytes to violations, so that tests and the watcher of what is published share
them. A rule's id starts with the clause that it comes from; "apple" ids are the authoring specification's
numbers, "mbashara" ids are promises of our own that players need although no clause asks for them.
"""

from player.conformance.delta import DeltaError, apply_delta, check_delta
from player.conformance.fragments import Clock, check_init, check_segment
from player.conformance.media_playlist import check_media_playlist
from player.conformance.multivariant import check_bitrates, check_multivariant
from player.conformance.playlist import MediaPlaylist, Part, Segment, parse
from player.conformance.reload import check_reload
from player.conformance.renditions import check_renditions, check_reports_between
from player.conformance.violation import Violation

__all__ = [
    "Clock", "DeltaError", "MediaPlaylist", "Part", "Segment", "Violation", "apply_delta", "check_bitrates",
    "check_delta", "check_init", "check_media_playlist", "check_multivariant", "check_reload",
    "check_renditions", "check_reports_between", "check_segment", "parse",
]  # fmt: skip
