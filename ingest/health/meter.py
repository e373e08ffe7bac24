"""Counts a feed's packets as they come: a few additions each, so that fifty feeds cost a core nothing worth naming."""

from core.media.packet import Buffer, Packet

MAX_STEP_MS = 2000
MAX_NAL_UNITS = 64
MAX_KEYS = 64
IDR = 5


class Meter:
    """One kind's packets since the feed began. `media_ms` is how far their timestamps went on; a step back, or forward
    by more than `MAX_STEP_MS`, is no part of it and counted in `jumps`."""

    __slots__ = ("_skipped_ms", "bytes", "dts_ms", "frames", "jumps")

    def __init__(self) -> None:
        self.bytes = self.frames = self.jumps = self.dts_ms = self._skipped_ms = 0

    @property
    def media_ms(self) -> int:
        return self.dts_ms - self._skipped_ms

    def take(self, dts_ms: int, size: int) -> None:
        if not 0 <= dts_ms - self.dts_ms <= MAX_STEP_MS:
            self._jump(dts_ms)
        self.dts_ms = dts_ms
        self.bytes += size
        self.frames += 1

    def _jump(self, dts_ms: int) -> None:
        self._skipped_ms += dts_ms - self.dts_ms
        self.jumps += self.frames > 0


class PictureMeter(Meter):
    """Pictures: their keyframes and composition times too. `gops_lately_ms` and `reorder_ms` are since `turn`."""

    __slots__ = ("_cts_high_ms", "_cts_low_ms", "_key_jumps", "_key_media_ms", "gop_ms", "gops_lately_ms",
                 "open_keys", "torn_keys")  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.gop_ms: int | None = None
        self.gops_lately_ms: list[int] = []
        self.open_keys = self.torn_keys = 0
        self._cts_low_ms, self._cts_high_ms = 1, 0
        self._key_media_ms: int | None = None
        self._key_jumps = 0

    def take_picture(self, packet: Packet) -> None:
        """`take` is written out here: a call for each picture costs more than what it does."""
        _, dts_ms, cts_ms, is_key, payload = packet
        if not 0 <= dts_ms - self.dts_ms <= MAX_STEP_MS:
            self._jump(dts_ms)
        self.dts_ms = dts_ms
        self.bytes += len(payload)
        self.frames += 1
        if not self._cts_low_ms <= cts_ms <= self._cts_high_ms:
            self._widen(cts_ms)
        if is_key:
            self._take_key(payload)

    @property
    def reorder_ms(self) -> int:
        """How much longer one picture waits for its turn than another."""
        return max(0, self._cts_high_ms - self._cts_low_ms)

    @property
    def since_key_ms(self) -> int:
        """Media since the last keyframe, or since the beginning."""
        return self.media_ms - (self._key_media_ms or 0)

    def turn(self) -> None:
        self.gops_lately_ms = []
        self._cts_low_ms, self._cts_high_ms = 1, 0

    def _widen(self, cts_ms: int) -> None:
        if self._cts_low_ms > self._cts_high_ms:
            self._cts_low_ms = self._cts_high_ms = cts_ms
        self._cts_low_ms, self._cts_high_ms = min(cts_ms, self._cts_low_ms), max(cts_ms, self._cts_high_ms)

    def _take_key(self, payload: Buffer) -> None:
        is_whole, is_idr = read_key(payload)
        self.torn_keys += not is_whole
        self.open_keys += is_whole and not is_idr
        if self._key_media_ms is not None and self._key_jumps == self.jumps:
            self.gop_ms = self.media_ms - self._key_media_ms
            if len(self.gops_lately_ms) < MAX_KEYS:
                self.gops_lately_ms.append(self.gop_ms)
        self._key_media_ms, self._key_jumps = self.media_ms, self.jumps


def read_key(payload: Buffer) -> tuple[bool, bool]:
    """Whether an access unit's NAL units (ISO 14496-15, 5.3.4.2) end where it does, and whether one is an IDR
    picture's (H.264 7.4.1.2.4)."""
    at, end, is_idr = 0, len(payload), False
    for _ in range(MAX_NAL_UNITS):
        if at + 5 > end:
            break
        is_idr = is_idr or payload[at + 4] & 31 == IDR
        at += 4 + int.from_bytes(payload[at : at + 4], "big")
    else:
        return at <= end, is_idr
    return at == end > 0, is_idr
