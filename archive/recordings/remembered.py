"""What the database remembers of a recording's papers: who has the folder in hand can cut all of them at an earlier
signature, and they still prove themselves."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy.orm import Session

from archive.recordings import signing_keys
from archive.recordings.verify import (
    NOTES,
    PAPERS,
    SIGNATURES_NAME,
    Chain,
    Finding,
    read_chain,
    verify,
)
from core.tables import Recording


def doubts(session: Session, folder: Path, recording: Recording) -> list[Finding]:
    """Why nothing must be said or made of a recording in the institution's name: its papers don't prove themselves, or
    they are not what the database knows. Before the first signature there is none to ask for."""
    return doubts_with(signing_keys.public_keys(session, recording.institution_id), folder, recording)


def doubts_with(keys: Mapping[bytes, str | None], folder: Path, recording: Recording) -> list[Finding]:
    """For who holds no connection meanwhile: a long ledger is read for a second."""
    report = verify(folder, keys, with_media=False, on_air=recording.state == "recording")
    not_yet = {"unsigned", *NOTES} if recording.signed_bytes == 0 else set[str]()
    found = [] if report.is_whole else [one for one in report.findings if one.kind not in not_yet]
    return [*found, *compare(recording, folder)]


def compare(recording: Recording, folder: Path) -> Iterator[Finding]:
    """How the files lack what the row, read before them, tells of. They may have more: rows are read from the ledger a
    little later, and custody's are written into the file with the next signature."""
    ledger, custody, signatures = (read_chain(folder / name) for name in PAPERS)
    yield from _compare(ledger, recording.ledger_bytes, recording.ledger_bytes, recording.ledger_head)
    yield from _compare(custody, recording.signed_custody_bytes, recording.custody_bytes, recording.custody_head)
    signed = [line for line in signatures.lines if "signature" in line]
    reach = {name: int(signed[-1][name]) if signed else 0 for name in ("ledger_bytes", "custody_bytes")}
    for told, found in (
        (recording.signed_bytes, reach["ledger_bytes"]),
        (recording.signed_custody_bytes, reach["custody_bytes"]),
    ):
        if found < told:
            yield Finding("database_more", {"name": SIGNATURES_NAME, "told": told, "found": found})
            return


def _compare(chain: Chain, least: int, told: int, head: str) -> Iterator[Finding]:
    if any(one.kind in ("line_changed", "unreadable") for one in chain.findings):
        return  # that is told already
    if chain.size < least:
        yield Finding("database_more", {"name": chain.name, "told": least, "found": chain.size})
    elif chain.size >= told and chain.head_at(told) != head:
        yield Finding("database_other", {"name": chain.name, "told": told})
