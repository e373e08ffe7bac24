"""Whether a recording's files are all there: what the index of each
rendition in the ledger names, against what the folder holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import m3u8

from archive.recordings.ledger import read_facts
from archive.recordings.rows import MissingSpan


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """`duration_ms` is the longest rendition's, `size_bytes` all files' together."""

    duration_ms: int
    size_bytes: int
    missing: tuple[MissingSpan, ...]


def check_files(folder: Path) -> CheckedFiles:
    """Blocks while it reads the indexes and looks at each file; for a worker's thread."""
    durations_ms, missing, files = [0], [], set[Path]()
    renditions = {fact.get("name") for fact in read_facts(folder) if fact.get("fact") == "rendition"}
    for index in sorted(folder.glob("*/index.m3u8")):
        if index.parent.name not in renditions:
            continue
        duration_ms = 0.0
        for segment in m3u8.load(str(index)).segments:
            wanted = _files_of(segment, index.parent)
            if not all(_has_bytes(path) for path in wanted):
                missing.append(MissingSpan(round(duration_ms), round(duration_ms + segment.duration * 1000)))
            files.update(wanted)
            duration_ms += segment.duration * 1000
        durations_ms.append(round(duration_ms))
    size_bytes = sum(path.stat().st_size for path in files if path.exists())
    return CheckedFiles(max(durations_ms), size_bytes, tuple(sorted(set(missing), key=lambda span: span.started_ms)))


def _files_of(segment: m3u8.Segment, folder: Path) -> list[Path]:
    """The segment and the initialisation it needs; nothing where the index itself says EXT-X-GAP."""
    if segment.gap_tag is not None:
        return []
    return [folder / Path(uri).name for uri in _uris(segment)]


def _uris(segment: m3u8.Segment) -> Iterator[str]:
    if segment.init_section is not None:
        yield segment.init_section.uri
    yield segment.uri


def _has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
