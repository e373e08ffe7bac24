"""What counts as a recording's files: its renditions', whatever else lies in its folder; what it was made
from counts where room is told of."""

from pathlib import Path

from archive.recordings.inventory import check_files
from tests.unit.recording_kit import make_recording


def test_an_index_that_is_no_renditions_is_not_read(tmp_path: Path) -> None:
    folder = make_recording(tmp_path)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n0.m4s\n#EXTINF:4,\n99.m4s\n#EXT-X-ENDLIST\n"
    (folder / "source" / "index.m3u8").write_text(playlist)
    (folder / "original").mkdir()
    (folder / "original" / "index.m3u8").write_bytes(b"\x00\xff\xfe no text")
    checked = check_files(folder)
    assert checked.size_bytes == sum((folder / name).stat().st_size for name in ("source/0.m4s", "original/index.m3u8"))
    assert checked.duration_ms == 8000 and [span.started_ms for span in checked.missing] == [4000]
