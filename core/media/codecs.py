"""Reads codec configurations: H.264 avcC with its SPS (ITU-T H.264 7.3.2.1.1), AudioSpecificConfig (ISO 14496-3)."""

from core.media.packet import AudioTrack, MediaError, VideoTrack

AAC_SAMPLE_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
PROFILES_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
MAX_DIMENSION = 16384


class BitReader:
    """Reads an RBSP bit by bit. Past its end it raises MediaError, so truncated headers fail in one way."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def read(self, count: int) -> int:
        if count > self._left:
            raise MediaError("codec configuration ends too soon")
        self._left -= count
        return (self._bits >> self._left) & ((1 << count) - 1)

    def unsigned(self) -> int:
        """Exp-Golomb ue(v), 9.1. More than 31 leading zeros is no legal value."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise MediaError("Exp-Golomb code too long")
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        value = self.unsigned()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def video_track(avcc: bytes) -> VideoTrack:
    """Reads an AVCDecoderConfigurationRecord. Raises MediaError where it, or its first SPS, can't be read."""
    if len(avcc) < 8 or avcc[0] != 1:
        raise MediaError("not an AVC configuration record")
    if avcc[4] & 3 != 3:
        raise MediaError("NAL unit lengths of other than 4 bytes are not supported")
    if not avcc[5] & 31:
        raise MediaError("AVC configuration without a sequence parameter set")
    size = int.from_bytes(avcc[6:8], "big")
    sps = avcc[8 : 8 + size]
    if len(sps) < 4 or len(sps) < size:
        raise MediaError("AVC configuration ends inside its sequence parameter set")
    return _read_sps(bytes(avcc), sps)


def _read_sps(avcc: bytes, sps: bytes) -> VideoTrack:
    bits = BitReader(sps[1:].replace(b"\0\0\3", b"\0\0"))
    profile = bits.read(8)
    bits.read(16)
    bits.unsigned()
    chroma, separate_planes, bit_depth = 1, 0, 8
    if profile in PROFILES_WITH_CHROMA:
        chroma, separate_planes, bit_depth = _read_chroma(bits)
    bits.unsigned()
    _skip_picture_order(bits)
    bits.unsigned()
    bits.read(1)
    width_mbs, height_units = bits.unsigned() + 1, bits.unsigned() + 1
    frame_mbs_only = bits.read(1)
    if not frame_mbs_only:
        bits.read(1)
    bits.read(1)
    crop = [bits.unsigned() for _ in range(4)] if bits.read(1) else [0, 0, 0, 0]
    sub_x, sub_y = (2 if chroma in (1, 2) and not separate_planes else 1), (2 if chroma == 1 else 1)
    width = width_mbs * 16 - (crop[0] + crop[1]) * sub_x
    height = (2 - frame_mbs_only) * (height_units * 16 - (crop[2] + crop[3]) * sub_y)
    if not (0 < width <= MAX_DIMENSION and 0 < height <= MAX_DIMENSION):
        raise MediaError(f"picture of {width}x{height}")
    return VideoTrack(
        avcc, f"avc1.{sps[1:4].hex().upper()}", width, height, _read_frame_rate(bits),
        interlaced=not frame_mbs_only, chroma_format=chroma, bit_depth=bit_depth,
    )  # fmt: skip


def _read_chroma(bits: BitReader) -> tuple[int, int, int]:
    chroma = bits.unsigned()
    separate_planes = bits.read(1) if chroma == 3 else 0
    bit_depth = 8 + bits.unsigned()
    bits.unsigned()
    bits.read(1)
    if bits.read(1):
        for index in range(8 if chroma != 3 else 12):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma, separate_planes, bit_depth


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.read(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.unsigned(), 255)):
            bits.signed()


def _read_frame_rate(bits: BitReader) -> float | None:
    """The VUI's timing (E.1.1). Encoders often cut the VUI short: what can't be read is unknown, not an error."""
    try:
        if not bits.read(1):
            return None
        if bits.read(1) and bits.read(8) == 255:
            bits.read(32)
        if bits.read(1):
            bits.read(1)
        if bits.read(1):
            bits.read(4)
            if bits.read(1):
                bits.read(24)
        if bits.read(1):
            bits.unsigned()
            bits.unsigned()
        if not bits.read(1):
            return None
        tick, scale = bits.read(32), bits.read(32)
    except MediaError:
        return None
    return round(scale / (2 * tick), 3) if tick and 0 < scale / (2 * tick) <= 1000 else None


def audio_track(asc: bytes) -> AudioTrack:
    """Reads an AudioSpecificConfig. Object type 5 or 29 (HE-AAC) keeps its core rate as the timescale."""
    bits = BitReader(bytes(asc))
    object_type = _read_object_type(bits)
    rate_hz = _read_rate(bits)
    channels = bits.read(4)
    if object_type in (5, 29):
        _read_rate(bits)
        _read_object_type(bits)
    if not 1000 <= rate_hz <= 192000:
        raise MediaError(f"AAC sample rate of {rate_hz} Hz")
    return AudioTrack(bytes(asc), f"mp4a.40.{object_type}", rate_hz, 8 if channels == 7 else channels or 2)


def _read_object_type(bits: BitReader) -> int:
    object_type = bits.read(5)
    return 32 + bits.read(6) if object_type == 31 else object_type


def _read_rate(bits: BitReader) -> int:
    index = bits.read(4)
    if index == 15:
        return bits.read(24)
    if index >= len(AAC_SAMPLE_RATES_HZ):
        raise MediaError("reserved AAC sample rate")
    return AAC_SAMPLE_RATES_HZ[index]
