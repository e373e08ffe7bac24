"""H.264 as WebRTC wants it: MP4's length-prefixed NAL units (ISO 14496-15, 5.3) to the byte stream of H.264 annex B."""

from core.media.packet import Buffer

START_CODE = b"\0\0\0\1"
_NO_PICTURE = frozenset({0, 9, 12})
"""NAL unit types that are left out: unspecified, access unit delimiter, filler data (H.264 table 7-1)."""


def parameter_sets(avcc: bytes) -> bytes:
    """SPS and PPS of an AVCDecoderConfigurationRecord, to be sent ahead of each IDR picture. Stops where it ends."""
    pieces: list[bytes] = []
    at = 5
    for count_mask in (31, 255):
        count, at = avcc[at] & count_mask if at < len(avcc) else 0, at + 1
        for _ in range(count):
            size = int.from_bytes(avcc[at : at + 2], "big")
            pieces += (START_CODE, avcc[at + 2 : at + 2 + size])
            at += 2 + size
    return b"".join(pieces)


def annex_b(payload: Buffer, before: bytes = b"") -> bytes:
    """One access unit with `before` ahead of it; empty where it has no NAL unit. What is cut short is left out."""
    pieces: list[Buffer] = []
    at, end = 0, len(payload)
    while at + 4 < end:
        size, at = int.from_bytes(payload[at : at + 4], "big"), at + 4
        if not size or at + size > end:
            break
        if payload[at] & 31 not in _NO_PICTURE:
            pieces += (START_CODE, payload[at : at + size])
        at += size
    return b"".join((before, *pieces)) if pieces else b""
