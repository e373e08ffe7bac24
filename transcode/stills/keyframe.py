"""A keyframe as a file that is decoded on its own: FLV of the configuration and the one picture."""

from core.media import flv
from core.media.packet import Kind, Packet, VideoTrack

_PICTURES_ALONE = flv.file_header(Kind.VIDEO)


def keyframe_file(track: VideoTrack, packet: Packet) -> bytes:
    """Both at 0 ms: when it was is not the picture's to say."""
    return b"".join([_PICTURES_ALONE, *flv.write_tag(track, 0), *flv.write_tag(packet, 0)])
