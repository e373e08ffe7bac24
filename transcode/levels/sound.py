"""A feed's last second of sound as a file that is decoded on its own: FLV of the configuration and the packets."""

from collections.abc import Sequence

from core.media import flv
from core.media.packet import AudioTrack, Kind, Packet

_SOUND_ALONE = flv.file_header(Kind.AUDIO)


def sound_file(track: AudioTrack, packets: Sequence[Packet]) -> bytes:
    """The last second of `packets`, from 0 ms on: an encoder's clock, and how it jumps, is no matter here."""
    wanted = max(1, track.timescale // track.frame_samples)
    tags = [
        part
        for at, packet in enumerate(packets[-wanted:])
        for part in flv.write_tag(packet, at * track.frame_samples * 1000 // track.timescale)
    ]
    return b"".join([_SOUND_ALONE, *flv.write_tag(track, 0), *tags])
