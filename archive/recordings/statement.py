"""Completeness statement of a recording: the time on the air against the time that is held, to the millisecond, with
every gap and its cause, the head of the ledger that proves it, and where the copies are. Signed by the institution.

The statement is JSON of numbers, texts and lists alone; `canonical` is its one spelling (sorted names, no spaces,
UTF-8). Signed is the SHA-256 of that. People read it as statement_text.py tells it, on paper by statement_pdf.py.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from archive.recordings import verify
from archive.recordings.about import About
from archive.recordings.account import Account, Holding, account
from archive.recordings.ledger import EPOCH
from archive.recordings.tables import RecordingCopy
from archive.words import LOCALE, N_
from core.plain import PlainError

FORMAT = "mbashara-statement-1"
AWAY = "process ended"

Statement = dict[str, Any]
Sign = Callable[[bytes], Mapping[str, str]]
"""Signs a text: {"key": base64 of the public key, "signature": base64, and what else there is to say}."""


class StatementError(PlainError):
    """The ledger is broken, so nothing can be stated."""

    catalogues = (LOCALE,)


@dataclass(frozen=True, slots=True)
class Copy:
    """Where the recording is, too. `state` and `checked_at` are as the copies' own records have them; titles are what
    people call the place, where it has one."""

    location: str
    state: str
    checked_at: str = ""
    title_sw: str = ""
    title_en: str = ""


def copy_of(row: RecordingCopy, titles: Mapping[str, tuple[str, str]]) -> Copy:
    """`titles`: by the location's name, in Swahili and English."""
    checked_at = row.checked_at.isoformat(timespec="milliseconds") if row.checked_at else ""
    return Copy(row.location, row.state, checked_at, *titles.get(row.location, ("", "")))


def state(
    folder: Path, about: About, now: datetime, made_by: str, copies: Sequence[Copy] = (),
    is_there: Callable[[dict[str, Any]], bool] | None = None,
) -> Statement:  # fmt: skip
    """`is_there` tells of a `file` fact whether the file can be had; by default it must be in the folder, as long as it
    was. Looks at every file and reads none. Raises StatementError, OSError."""
    ledger, signatures = (
        verify.read_chain(folder / verify.LEDGER_NAME),
        verify.read_chain(folder / verify.SIGNATURES_NAME),
    )
    broken = [one for one in ledger.findings if one.kind != "torn"]
    if broken:
        raise StatementError(broken[0].text)
    if not ledger.lines:
        raise StatementError(N_("{name} is empty"), name=verify.LEDGER_NAME)
    found = account(ledger.lines, is_there or in_folder(folder))
    signed = [line for line in signatures.lines if "signature" in line]
    return {
        "format": FORMAT,
        "recording": about.recording_id,
        "channel": about.channel,
        "institution": {"sw": about.institution_sw, "en": about.institution_en},
        "title": {"sw": about.title_sw, "en": about.title_en},
        "made_at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "made_by": made_by,
        "on_air": _on_air(found),
        "destroyed": _destroyed(folder),
        "made_from": verify.made_from(ledger.lines[0]) or {},
        "waited": _waited(found),
        "best": _holding(found, found.best),
        "renditions": [_holding(found, one) for one in found.renditions],
        "events": _events(found, ledger.lines),
        "files": {"number": found.files, "bytes": found.size_bytes},
        "ledger": {"head": ledger.head, "lines": len(ledger.lines), "bytes": ledger.size},
        "signatures": {
            "number": len(signed),
            "time_stamps": sum(is_good for _, is_good in verify.stamps(signatures)),
            "last_at": str(signed[-1]["at"]) if signed else "",
        },
        "copies": [
            {
                "location": one.location, "title": {"sw": one.title_sw, "en": one.title_en}, "state": one.state,
                "checked_at": one.checked_at,
            }
            for one in copies
        ],
    }  # fmt: skip


def in_folder(folder: Path) -> Callable[[dict[str, Any]], bool]:
    """Whether the file of a fact is there, as long as it was."""

    def is_there(fact: dict[str, Any]) -> bool:
        path = folder / str(fact["name"])
        try:
            return ".." not in path.parts and path.stat().st_size == fact["size"]
        except OSError:
            return False

    return is_there


def _moment(found: Account, at_ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=found.origin_ms + at_ms)).isoformat(timespec="milliseconds")


def _on_air(found: Account) -> Statement:
    return {
        "from": _moment(found, found.from_ms),
        "to": _moment(found, found.to_ms),
        "ms": found.on_air_ms,
        "is_over": found.is_over,
    }


def _destroyed(folder: Path) -> Statement:
    """When, if the media were destroyed by order. By whose stays in the custody log: a statement is public."""
    order = verify.disposal_of(verify.read_chain(folder / verify.CUSTODY_NAME))
    return {"at": str(order["at"])} if order else {}


def _waited(found: Account) -> Statement:
    """For an encoder that did not come back: the time on the air was over. `ms` 0: there was no such wait."""
    return {
        "from": _moment(found, found.to_ms),
        "to": _moment(found, found.to_ms + found.waited_ms),
        "ms": found.waited_ms,
    }


def _holding(found: Account, one: Holding) -> Statement:
    """Times in milliseconds count from the beginning on the air."""
    return {
        "name": one.name,
        "kind": one.kind,
        "held_ms": one.held_ms,
        "gap_ms": one.gap_ms,
        "gaps": [
            {
                "from_ms": gap.from_ms - found.from_ms,
                "to_ms": gap.to_ms - found.from_ms,
                "from": _moment(found, gap.from_ms),
                "to": _moment(found, gap.to_ms),
                "cause": gap.cause,
            }
            for gap in one.gaps
        ],
    }


def _events(found: Account, facts: Sequence[Mapping[str, Any]]) -> list[Statement]:
    """Feeds lost and back, encoders turned away, and restarts, as they came; and the end, where the program was away
    before and nobody knows what an encoder sent to it in vain."""
    told: list[Statement] = []
    for fact in facts:
        match fact.get("fact"):
            case "lost":
                told.append({"at": _moment(found, round(fact["at_ms"])), "what": "lost", "cause": str(fact["cause"])})
            case "gap" if "rendition" not in fact and fact.get("is_back", True):
                told.append({"at": _moment(found, round(fact["to_ms"])), "what": "back", "cause": ""})
            case "back":
                told.append({"at": _moment(found, round(fact["at_ms"])), "what": "back", "cause": ""})
            case "refused":
                at = _moment(found, round(fact["at_ms"]))
                told.append({"at": at, "what": "refused", "cause": str(fact["cause"])})
            case "resumed":
                told.append({"at": str(fact["at"]), "what": "resumed", "cause": ""})
            case "ended" if fact.get("reason") == AWAY:
                told.append({"at": _moment(found, round(fact["duration_ms"])), "what": "ended", "cause": AWAY})
    return told


# Proof.


def canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed_text(recording: str, sha256: str) -> bytes:
    return f"{FORMAT}\n{recording}\n{sha256}\n".encode()


def sealed(statement: Statement, sign: Sign) -> Statement:
    """The statement with its hash and the institution's signature, as it is handed over."""
    sha256 = hashlib.sha256(canonical(statement)).hexdigest()
    signature = sign(signed_text(statement["recording"], sha256))
    return {"statement": statement, "sha256": sha256, "signature": dict(signature)}
