"""Fragmented MP4 as CMAF wants it (ISO 14496-12, 23000-19): initialization segments, fragments, a reader of both.

A fragment is one `moof` and one `mdat` of one track. Whoever appends fragments to a file gets a legal segment.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.media import codecs
from core.media.packet import AudioTrack, Buffer, MediaError, Track, VideoTrack

KEY_SAMPLE = 0x02000000  # sample_depends_on = 2: needs no other
DELTA_SAMPLE = 0x01010000  # sample_depends_on = 1, sample_is_non_sync_sample
MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_AUDIO_TRUN_FLAGS = 0x000201  # data offset, sample size
_VIDEO_TRUN_FLAGS = 0x01000F01  # version 1 (signed offsets); data offset, duration, size, flags, composition offset


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of 32-bit size (4.2)."""
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def initialization_segment(track: Track) -> bytes:
    """The `ftyp` and `moov` for one track, whose timescale is the track's own."""
    brands = b"iso6" + struct.pack(">I", 0) + b"iso6cmfcmp41"
    movie = full_box(
        b"mvhd", 0, 0, struct.pack(">IIIIIH10x", 0, 0, 1000, 0, 0x10000, 0x100), MATRIX, bytes(24), b"\0\0\0\2"
    )
    extends = box(b"mvex", full_box(b"trex", 0, 0, struct.pack(">5I", 1, 1, 0, 0, 0)))
    return box(b"ftyp", brands) + box(b"moov", movie, _trak(track), extends)


def _trak(track: Track) -> bytes:
    is_video = isinstance(track, VideoTrack)
    width, height = (track.width, track.height) if isinstance(track, VideoTrack) else (0, 0)
    header = full_box(
        b"tkhd", 0, 7, struct.pack(">IIIII8xHHHH", 0, 0, 1, 0, 0, 0, 0 if is_video else 1, 0 if is_video else 0x100, 0),
        MATRIX, struct.pack(">II", width << 16, height << 16),
    )  # fmt: skip
    handler = b"vide" if is_video else b"soun"
    media_header = full_box(b"vmhd", 0, 1, bytes(8)) if is_video else full_box(b"smhd", 0, 0, bytes(4))
    empty_tables = (
        full_box(b"stts", 0, 0, bytes(4)), full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)), full_box(b"stco", 0, 0, bytes(4)),
    )  # fmt: skip
    table = box(b"stbl", full_box(b"stsd", 0, 0, struct.pack(">I", 1), sample_entry(track)), *empty_tables)
    references = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, track.timescale, 0, 0x55C4, 0)),
        full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), b"Mbashara\0"),
        box(b"minf", media_header, references, table),
    )
    return box(b"trak", header, media)


def sample_entry(track: Track) -> bytes:
    """What a decoder is set up with: `avc1` or `mp4a`."""
    return _avc1(track) if isinstance(track, VideoTrack) else _mp4a(track)


def _avc1(track: VideoTrack) -> bytes:
    picture = struct.pack(">6xH16xHHIIIH32sHH", 1, track.width, track.height, 0x480000, 0x480000, 0, 1, b"", 24, 0xFFFF)
    return box(b"avc1", picture, box(b"avcC", track.config))


def _mp4a(track: AudioTrack) -> bytes:
    sound = struct.pack(">6xH8xHHII", 1, track.channels, 16, 0, min(track.timescale, 0xFFFF) << 16)
    specific = _descriptor(5, track.config)
    decoder = _descriptor(4, struct.pack(">BB3sII", 0x40, 0x15, b"", 0, 0), specific)
    stream = _descriptor(3, struct.pack(">HB", 0, 0), decoder, _descriptor(6, b"\x02"))
    return box(b"mp4a", sound, full_box(b"esds", 0, 0, stream))


def _descriptor(tag: int, *parts: bytes) -> bytes:
    """An MPEG-4 descriptor (14496-1, 8.3.3) with the four-byte length that every parser takes."""
    body = b"".join(parts)
    size = len(body)
    return bytes((tag, 0x80 | size >> 21 & 127, 0x80 | size >> 14 & 127, 0x80 | size >> 7 & 127, size & 127)) + body


def video_fragment(sequence: int, decode_time: int, samples: Sequence[int], payloads: Sequence[Buffer]) -> bytes:
    """One video fragment. `samples` is flat, four a sample: duration, size, flags,
    composition offset & 2^32-1."""
    count = len(payloads)
    table = struct.pack(f">{len(samples)}I", *samples)
    return _fragment(sequence, decode_time, b"", 0x020000, _VIDEO_TRUN_FLAGS, count, table, payloads)


def audio_fragment(
    sequence: int, decode_time: int, frame_samples: int, sizes: Sequence[int], payloads: Sequence[Buffer]
) -> bytes:
    """One audio fragment: every sample lasts `frame_samples` and is a sync sample."""
    defaults = struct.pack(">II", frame_samples, KEY_SAMPLE)
    table = struct.pack(f">{len(sizes)}I", *sizes)
    return _fragment(sequence, decode_time, defaults, 0x020028, _AUDIO_TRUN_FLAGS, len(sizes), table, payloads)


def _fragment(
    sequence: int, decode_time: int, defaults: bytes, tfhd_flags: int, trun_flags: int, count: int, table: bytes,
    payloads: Sequence[Buffer],
) -> bytes:  # fmt: skip
    """Packs `moof` in few calls, as it is made for every part. Payloads are copied this once: whoever writes or hashes
    a part then does it in one call, where a call for each packet costs more than the copy.
    tfhd_flags hold default-base-is-moof (CMAF 7.5.16)."""
    tfhd_bytes = 16 + len(defaults)
    trun_bytes = 20 + len(table)
    traf_bytes = 8 + tfhd_bytes + 20 + trun_bytes
    moof_bytes = 24 + traf_bytes
    media_bytes = sum(map(len, payloads))
    head = struct.pack(
        ">I4sI4sIII4sI4sII", moof_bytes, b"moof", 16, b"mfhd", 0, sequence, traf_bytes, b"traf",
        tfhd_bytes, b"tfhd", tfhd_flags, 1,
    )  # fmt: skip
    times = struct.pack(
        ">I4sIQI4sIII", 20, b"tfdt", 0x01000000, decode_time, trun_bytes, b"trun", trun_flags, count, moof_bytes + 8
    )
    return b"".join((head, defaults, times, table, struct.pack(">I4s", media_bytes + 8, b"mdat"), *payloads))


@dataclass(frozen=True, slots=True)
class Fragment:
    """A whole `moof` + `mdat` found in a file: its place in bytes, its decode time and duration in timescale ticks."""

    offset: int
    size: int
    decode_time: int
    duration: int
    samples: int
    starts_with_key: bool


def boxes(data: Buffer, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Whole boxes in `data`: kind, start of the body, end. A box that ends beyond the data is not yielded."""
    view = memoryview(data)
    stop = len(view) if end is None else end
    while start + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", view, start)
        if size < 8 or start + size > stop:
            return
        yield kind, start + 8, start + size
        start += size


def fragments(data: Buffer) -> Iterator[Fragment]:
    """The complete fragments at the head of a segment file, without what a killed writer left half-written."""
    moof: tuple[int, int] | None = None
    for kind, start, end in boxes(data):
        if kind == b"moof":
            moof = (start, end)
        elif kind == b"mdat" and moof is not None:
            yield _read_moof(data, moof[0], moof[1], end)
            moof = None


def _read_moof(data: Buffer, start: int, end: int, fragment_end: int) -> Fragment:
    traf = next((b for b in boxes(data, start, end) if b[0] == b"traf"), None)
    if traf is None:
        raise MediaError("movie fragment without a track")
    inner = {kind: (body, stop) for kind, body, stop in boxes(data, traf[1], traf[2])}
    try:
        default_duration, default_flags = _read_tfhd(data, inner[b"tfhd"][0])
        (decode_time,) = struct.unpack_from(">Q", data, inner[b"tfdt"][0] + 4)
        count, duration, flags = _read_trun(data, inner[b"trun"][0], default_duration, default_flags)
    except (KeyError, struct.error) as error:
        raise MediaError("movie fragment that can't be read") from error
    return Fragment(start - 8, fragment_end - start + 8, decode_time, duration, count, not flags & 0x10000)


def _read_tfhd(data: Buffer, at: int) -> tuple[int, int]:
    (word,) = struct.unpack_from(">I", data, at)
    at += 8 + (8 if word & 1 else 0) + (4 if word & 2 else 0)
    duration = struct.unpack_from(">I", data, at)[0] if word & 8 else 0
    at += (4 if word & 8 else 0) + (4 if word & 0x10 else 0)
    return duration, struct.unpack_from(">I", data, at)[0] if word & 0x20 else 0


def _read_trun(data: Buffer, at: int, default_duration: int, default_flags: int) -> tuple[int, int, int]:
    word, count = struct.unpack_from(">II", data, at)
    at += 8 + (4 if word & 1 else 0)
    first_flags = default_flags
    if word & 4:
        (first_flags,) = struct.unpack_from(">I", data, at)
        at += 4
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if word & bit]
    if not fields or 0x100 not in fields:
        duration = count * default_duration
    else:
        duration = sum(struct.unpack_from(">I", data, at + n * 4 * len(fields))[0] for n in range(count))
    if count and word & 0x400:
        (first_flags,) = struct.unpack_from(">I", data, at + 4 * fields.index(0x400))
    return count, duration, first_flags


def read_timescale(initialization: Buffer) -> int:
    """The media timescale of an initialization segment with one track."""
    at = (0, len(initialization))
    for wanted in (b"moov", b"trak", b"mdia", b"mdhd"):
        found = next((found for found in boxes(initialization, *at) if found[0] == wanted), None)
        if found is None:
            raise MediaError("initialization segment without a media header")
        at = (found[1], found[2])
    version = memoryview(initialization)[at[0]]
    (timescale,) = struct.unpack_from(">I", initialization, at[0] + (20 if version == 1 else 12))
    return int(timescale)


def read_track(initialization: Buffer) -> Track:
    """The track of an initialization segment that this module wrote."""
    data = bytes(initialization)
    if (at := data.find(b"avcC")) > 4:
        return codecs.video_track(data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")])
    if (at := data.find(b"esds")) > 4:
        at = data.find(b"\x05\x80\x80\x80", at)
        return codecs.audio_track(data[at + 5 : at + 5 + data[at + 4]])
    raise MediaError("initialization segment without a codec configuration")


def sample_sizes(data: Buffer, fragment: Fragment) -> list[int]:
    """The sizes in bytes of a fragment's samples, which end where the fragment ends."""
    end = fragment.offset + fragment.size
    _, moof, moof_end = next(boxes(data, fragment.offset, end))
    _, traf, traf_end = next(found for found in boxes(data, moof, moof_end) if found[0] == b"traf")
    _, trun, _ = next(found for found in boxes(data, traf, traf_end) if found[0] == b"trun")
    word, count = struct.unpack_from(">II", data, trun)
    at = trun + 8 + (4 if word & 1 else 0) + (4 if word & 4 else 0)
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if word & bit]
    step, place = 4 * len(fields), 4 * fields.index(0x200)
    return [struct.unpack_from(">I", data, at + number * step + place)[0] for number in range(count)]


class Samples(NamedTuple):
    """A fragment's samples in decoding order, each list as long as the others; ticks of the track's timescale."""

    decode_time: int
    sizes: Sequence[int]
    durations: Sequence[int]
    offsets: Sequence[int]
    keys: Sequence[bool]


def read_samples(moof: Buffer) -> Samples:
    """The samples that a whole `moof` (with its own head) tells of. Raises MediaError where it can't be read."""
    try:
        _, start, end = next(found for found in boxes(moof, 8) if found[0] == b"traf")
        inner = {kind: body for kind, body, _ in boxes(moof, start, end)}
        default_duration, default_flags = _read_tfhd(moof, inner[b"tfhd"])
        (decode_time,) = struct.unpack_from(">Q", moof, inner[b"tfdt"] + 4)
        return _samples(moof, inner[b"trun"], decode_time, default_duration, default_flags)
    except (KeyError, StopIteration, struct.error) as error:
        raise MediaError("movie fragment that can't be read") from error


def _samples(data: Buffer, at: int, decode_time: int, default_duration: int, default_flags: int) -> Samples:
    word, count = struct.unpack_from(">II", data, at)
    at += 8 + (4 if word & 1 else 0)
    first_flags = None
    if word & 4:
        (first_flags,) = struct.unpack_from(">I", data, at)
        at += 4
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if word & bit]
    table = struct.unpack_from(f">{count * len(fields)}I", data, at)
    column = {bit: table[place :: len(fields)] for place, bit in enumerate(fields)}
    flags = list(column.get(0x400, [default_flags] * count))
    if flags and first_flags is not None:
        flags[0] = first_flags
    return Samples(
        decode_time,
        column[0x200],
        column.get(0x100, (default_duration,) * count),
        [value - (value >> 31 << 32) for value in column.get(0x800, (0,) * count)],
        [not flag & 0x10000 for flag in flags],
    )
