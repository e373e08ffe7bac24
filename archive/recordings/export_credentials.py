"""Content credentials (C2PA 2.x) of an export: who recorded it, when, which stretch it is, and what the ledger says.

They are signed by the institution (`certificates.py`) and lie in the file itself. `read` tells whether they still fit.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

import c2pa

from archive.recordings.certificates import DOCUMENT_SIGNING, Identity
from archive.recordings.export import Exported, Seal, Written
from archive.recordings.export_plan import WHOLE, Stop
from archive.recordings.samples import Absence, Stopped

LEDGER = "tz.go.mbashara.ledger"
CAPTURED = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
"""What the source is, as far as the platform knows: what an encoder of the institution sent live."""
TYPES = {".mp4": "video/mp4", ".m4a": "audio/mp4"}
_UNKNOWN_SIGNER = "signingCredential.untrusted"
SIGNED = ".signed"
MEMORY_MB = 16
"""What the library keeps of a file in memory; a larger one it writes into the temporary folder (TMPDIR)."""


class CredentialsError(Exception):
    """The credentials can't be made; the words are the library's."""


@dataclass(frozen=True, slots=True)
class Described:
    """What the files of a recording don't tell of it. `institution` and `channel` are slugs; `ledger_head` is the
    SHA-256 of the ledger's last line when the export began."""

    institution: str
    institution_name: str
    channel: str
    title_sw: str
    title_en: str
    ledger_head: str


class Standing(Enum):
    """What credentials are worth."""

    VALID = "valid"
    UNKNOWN_SIGNER = "unknown_signer"
    CHANGED = "changed"
    """The file is not what was signed."""
    BROKEN = "broken"
    """The signature or the credentials themselves don't hold."""
    NONE = "none"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Credentials:
    """`ledger` is our own assertion, to be believed only where `standing` is VALID; `signer` the certificate's name;
    `codes` are C2PA's own words for what failed."""

    standing: Standing
    signer: str | None = None
    ledger: Mapping[str, Any] | None = None
    codes: tuple[str, ...] = ()


def sealing(described: Described, by: Identity, now: datetime, version: str, timestamp_url: str | None = None) -> Seal:
    """What `export` calls for each file."""

    def seal(path: Path, exported: Exported, stop: Stop, written: Written) -> None:
        claim = manifest(exported, described, now, version)
        sign(path, claim, by, timestamp_url=timestamp_url, stop=stop, written=written)

    return seal


def manifest(exported: Exported, described: Described, now: datetime, version: str) -> dict[str, Any]:
    """The claim about the one file of `exported`, made at `now`."""
    (file,) = exported.files
    return {
        "claim_generator_info": [{"name": "Mbashara", "version": version}],
        "title": file.path.name,
        "format": TYPES[file.path.suffix.lower()],
        "assertions": [
            {"label": "c2pa.actions.v2", "created": True, "data": {"actions": _actions(exported, now)}},
            {"label": "cawg.metadata", "kind": "Json", "data": _metadata(exported, described)},
            {"label": LEDGER, "created": True, "data": _ledger(exported, described)},
        ],
    }


def _ledger(exported: Exported, described: Described) -> dict[str, Any]:
    """Our assertion. `sha256` of `files` is over a line for each, in their order: hash, two spaces, name, newline."""
    (file,) = exported.files
    lines = "".join(f"{source.sha256}  {source.name}\n" for source in file.sources)
    files = {"count": len(file.sources), "sha256": hashlib.sha256(lines.encode()).hexdigest()}
    return {
        "recording": exported.recording, "institution": described.institution, "channel": described.channel,
        "title": {"sw": described.title_sw, "en": described.title_en}, "origin": _clock(exported.origin_ms),
        "from": _clock(exported.origin_ms + file.from_ms), "to": _clock(exported.origin_ms + file.to_ms),
        "from_ms": file.from_ms, "to_ms": file.to_ms,
        "rendition": exported.video or exported.sound, "sound": exported.sound,
        "ledger_head": described.ledger_head, "files": files,
        "pieces": [asdict(piece) for piece in file.pieces], "gaps": [_gap(gap) for gap in exported.gaps],
    }  # fmt: skip


def _gap(gap: Absence) -> dict[str, Any]:
    return {name: value for name, value in asdict(gap).items() if value is not None}


def _actions(exported: Exported, now: datetime) -> list[dict[str, Any]]:
    """Recorded then; now cut, where only a part was asked for, and put into another container (nothing encoded)."""
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.created", "when": _clock(exported.origin_ms), "digitalSourceType": CAPTURED}
    ]
    when = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if exported.asked != WHOLE:
        span = {"from_ms": exported.got.from_ms, "to_ms": exported.got.to_ms}
        actions.append({"action": "c2pa.trimmed", "when": when, "parameters": span})
    return [*actions, {"action": "c2pa.repackaged", "when": when}]


def _metadata(exported: Exported, described: Described) -> dict[str, Any]:
    return {
        "@context": {"dc": "http://purl.org/dc/elements/1.1/"},
        "dc:title": {"sw": described.title_sw, "en": described.title_en},
        "dc:creator": [described.institution_name],
        "dc:identifier": exported.recording,
        "dc:date": [_clock(exported.origin_ms + exported.files[0].from_ms)],
    }


def _clock(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sign(
    path: Path, claim: Mapping[str, Any], by: Identity, *, timestamp_url: str | None = None,
    stop: Stop = lambda: False, written: Written = lambda _: None,
) -> None:  # fmt: skip
    """Puts the credentials into the file, which is written anew beside itself and then replaced. Blocks: some 75 MB a
    second. Up to 600 MB of memory, whatever the size, and two files of it in the temporary folder. `written` is told
    bytes. With `timestamp_url` an authority (RFC 3161) says when, so that the signature outlives the certificate.

    Raises CredentialsError, Stopped, OSError; the file is as it was then."""
    fresh = path.with_name(path.name + SIGNED)
    try:
        with path.open("rb") as source, fresh.open("w+b") as target:
            counted = _Counted(target, stop, written)
            try:
                signer = c2pa.Signer.from_info(
                    c2pa.C2paSignerInfo(
                        alg="es256", sign_cert=by.chain, private_key=by.key, ta_url=timestamp_url
                    )
                )  # fmt: skip
                builder = c2pa.Builder(dict(claim), _context(by.authority))
                builder.sign(signer, str(claim["format"]), source, counted)
            except c2pa.C2paError as error:
                if counted.is_stopped:
                    raise Stopped from error
                if counted.failed is not None:
                    raise counted.failed from error
                raise CredentialsError(str(error)) from error
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


class _Counted(io.RawIOBase):
    """The file that is written, for a library that says neither how far it is nor why it could not write."""

    def __init__(self, file: BinaryIO, stop: Stop, written: Written) -> None:
        self._file, self._stop, self._written, self._count = file, stop, written, 0
        self.is_stopped = False
        self.failed: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def write(self, data: Any) -> int:
        if self._stop():
            self.is_stopped = True
            raise OSError("stopped")
        try:
            size = self._file.write(data)
        except OSError as error:
            self.failed = error
            raise
        self._count += size
        self._written(self._count)
        return size


def read(path: Path, authority: bytes) -> Credentials:
    """What the file's credentials are worth to who trusts `authority` (PEM) alone. Blocks; fetches nothing."""
    with path.open("rb") as file:
        return read_file(file, type_of(path), authority)


def type_of(path: Path) -> str:
    return TYPES.get(path.suffix.lower(), "video/mp4")


def read_file(file: BinaryIO, kind: str, authority: bytes) -> Credentials:
    """The same of an open file; `kind` is its media type."""
    try:
        with _context(authority) as context:
            reader = c2pa.Reader(kind, file, context=context)
            with reader:
                told = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return Credentials(Standing.NONE)
    except c2pa.C2paError as error:
        return Credentials(Standing.UNREADABLE, codes=(str(error),))
    return _judge(told)


def _judge(told: Mapping[str, Any]) -> Credentials:
    active = told["manifests"][told["active_manifest"]]
    failures = told.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    codes = tuple(failure["code"] for failure in failures)
    signer = active.get("signature_info", {}).get("common_name")
    ours = next((one["data"] for one in active.get("assertions", ()) if one["label"] == LEDGER), None)
    return Credentials(_standing(told.get("validation_state"), codes), signer, ours, codes)


def _standing(state: str | None, codes: Sequence[str]) -> Standing:
    others = [code for code in codes if code != _UNKNOWN_SIGNER]
    if any(code.startswith("assertion.") and code.endswith("Hash.mismatch") for code in others):
        return Standing.CHANGED
    if others:
        return Standing.BROKEN
    if codes or state != "Trusted":
        return Standing.UNKNOWN_SIGNER
    return Standing.VALID


def _context(authority: bytes) -> c2pa.Context:
    return c2pa.Context.from_dict(
        {
            "core": {"backing_store_memory_threshold_in_mb": MEMORY_MB},
            "verify": {
                "verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False,
            },
            "trust": {"trust_anchors": authority.decode(), "trust_config": DOCUMENT_SIGNING.dotted_string},
            "builder": {"thumbnail": {"enabled": False}},
        }
    )  # fmt: skip
