"""Whether a recording's files are all there: what the index of each
rendition in the ledger names, against what the folder holds."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import m3u8

from archive.imports.kept import ORIGINAL
from archive.recordings.ledger import read_facts
from archive.recordings.rows import MissingSpan


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """`duration_ms` is the longest rendition's, `size_bytes` all files' together, with the one it was made from."""

    duration_ms: int
    size_bytes: int
    missing: tuple[MissingSpan, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a rendition's timeline with the files that it needs; none where the index says EXT-X-GAP."""

    rendition: str
    span: MissingSpan
    files: tuple[Path, ...]


def segments(folder: Path) -> Iterator[Segment]:
    """As the indexes list them. Blocks."""
    renditions = {fact.get("name") for fact in read_facts(folder) if fact.get("fact") == "rendition"}
    for index in sorted(folder.glob("*/index.m3u8")):
        if index.parent.name not in renditions:
            continue
        begin_ms = 0.0
        for segment in m3u8.load(str(index)).segments:
            end_ms = begin_ms + segment.duration * 1000
            span = MissingSpan(round(begin_ms), round(end_ms))
            yield Segment(index.parent.name, span, tuple(_files_of(segment, index.parent)))
            begin_ms = end_ms


def check_files(folder: Path) -> CheckedFiles:
    """Blocks while it reads the indexes and looks at each file; for a worker's thread."""
    duration_ms, missing, files = 0, set[MissingSpan](), set[Path]()
    for one in segments(folder):
        duration_ms = max(duration_ms, one.span.ended_ms)
        files.update(one.files)
        if not all(map(has_bytes, one.files)):
            missing.add(one.span)
    missing.update(lacking(folder, files) if files else ())
    files.update(folder.glob(f"{ORIGINAL}/*"))
    size_bytes = sum(path.stat().st_size for path in files if path.exists())
    return CheckedFiles(duration_ms, size_bytes, tuple(sorted(missing, key=lambda span: span.started_ms)))


def lacking(folder: Path, named: Collection[Path] = ()) -> Iterator[MissingSpan]:
    """The stretches of segments that the ledger lists, no index has `named`, and that are not there. Blocks."""
    listed = {str(fact["name"]): fact for fact in read_facts(folder) if fact.get("fact") == "file" and "msn" in fact}
    for name, fact in listed.items():
        if folder / name not in named and not has_bytes(folder / name):
            yield MissingSpan(fact["from_ms"], fact["to_ms"])


def _files_of(segment: m3u8.Segment, folder: Path) -> list[Path]:
    """The segment and the initialisation it needs; nothing where the index itself says EXT-X-GAP."""
    if segment.gap_tag is not None:
        return []
    return [folder / Path(uri).name for uri in _uris(segment)]


def _uris(segment: m3u8.Segment) -> Iterator[str]:
    if segment.init_section is not None:
        yield segment.init_section.uri
    yield segment.uri


def has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
