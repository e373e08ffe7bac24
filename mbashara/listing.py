"""What a broadcast consists of, as it is told: multivariant playlists, of the live window and of the recording, and the
ledger's facts."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from archive.recordings.recorder import Recording
from core.media.packet import Kind, Track, VideoTrack
from mbashara.rendition import Rendition
from player.files import MULTIVARIANT_NAMES, MemoryFolder
from player.playlist import Rendition as Listed
from player.playlist import audio_multivariant, multivariant
from transcode.ladder import RUNGS

SOURCE_NAMES = {Kind.VIDEO: "source", Kind.AUDIO: "source-audio"}
EXPECTED_PEAK_BPS = {rung.name: rung.peak_bps for rung in RUNGS}
MULTIVARIANTS: tuple[tuple[str, Callable[[list[Listed]], str]], ...] = tuple(
    zip(MULTIVARIANT_NAMES, (multivariant, audio_multivariant), strict=True)
)


class Listing:
    """A broadcast's. `folder` is its channel's in the live window."""

    def __init__(self, folder: Path, broadcast: str) -> None:
        self.folder = MemoryFolder(folder)
        self._broadcast = broadcast
        self._recorded: tuple[tuple[str, int], ...] = ()
        self._written: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        """How many renditions it shows."""
        return len(self._written)

    def forget(self) -> None:
        """It is written anew, whether it has changed or not."""
        self._recorded = self._written = ()

    def write(self, recording: Recording, renditions: Collection[Rendition], left_out: Collection[str]) -> bool:
        """Rewritten when a rendition appears, disappears, or its peak has grown by a tenth; again, where the memory
        folder refuses. False: it is as before."""
        shown = [one for one in renditions if one.window.has_media and one.window.track and one.name not in left_out]
        listing = tuple((one.name, round(one.peak_bps, -max(0, len(str(one.peak_bps)) - 2))) for one in shown)
        if not listing or (listing == self._written and self._is_there() and not self.folder.refuses):
            return False
        if listing != self._recorded:
            self._recorded = listing
            write_multivariants(recording, _listed(renditions, ""))
            for one in renditions:
                _announce(recording, one)
        live = _listed(shown, f"{self._broadcast}/")
        if False in [self.folder.write(name, render(live).encode()) for name, render in MULTIVARIANTS]:
            return False
        self._written = listing
        return True

    def _is_there(self) -> bool:
        return all(self.folder.has(name) for name, _ in MULTIVARIANTS)


def write_multivariants(recording: Recording, listed: list[Listed]) -> None:
    for name, render in MULTIVARIANTS:
        recording.write_file(name, render(listed).encode())


def tell_rendition(recording: Recording, name: str, track: Track, bitrate_bps: int) -> None:
    width, height = (track.width, track.height) if isinstance(track, VideoTrack) else (None, None)
    recording.fact(
        "rendition", name=name, kind=track.kind.name.lower(), codecs=track.codecs, width=width, height=height,
        bitrate_bps=bitrate_bps,
    )  # fmt: skip


def _listed(renditions: Iterable[Rendition], prefix: str) -> list[Listed]:
    shown = (one.listed(prefix, EXPECTED_PEAK_BPS.get(one.name, 0)) for one in renditions)
    return [one for one in shown if one]


def _announce(recording: Recording, rendition: Rendition) -> None:
    """Once, when its track is known."""
    if not rendition.announced and rendition.window.track is not None:
        rendition.announced = True
        bitrate_bps = rendition.average_bps or EXPECTED_PEAK_BPS.get(rendition.name, 0)
        tell_rendition(recording, rendition.name, rendition.window.track, bitrate_bps)
