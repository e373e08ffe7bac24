"""Recordings as media and work leave them: a ledger, its files, custody and signatures. Media are made up."""

import base64
import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from archive.recordings import statement
from archive.recordings.ledger import CUSTODY_NAME, Ledger, make_fact
from archive.recordings.verify import SIGNATURES_NAME, check_ed25519, signed_text

ID = "01jdx00000000000000000000a"
OTHER_ID = "01jdx00000000000000000000b"
ORIGIN_MS = 1_795_852_800_000
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC_KEY = KEY.public_key().public_bytes_raw()
RENDITIONS = {"source": "video", "480p": "video", "source-audio": "audio"}
IMPORTED = {"original": {"name": "bajeti.mp4", "file": "original/file.mp4", "size": 7, "sha256": "ab" * 32}}
NEVER_BACK = {"is_back": False, "waited": True}
"""What media says of a gap in which it waited for an encoder, to the end."""


def make_recording(
    folder: Path, *, recording: str = ID, segments: int = 6, lost: Sequence[int] = (3,), is_over: bool = True,
    is_signed: bool = True, seed: int = 1, segment_ms: int = 4000, described: Mapping[str, Any] | None = None,
    imported: Mapping[str, Any] | None = None, done: Mapping[str, Mapping[str, Any]] = {},
) -> Path:  # fmt: skip
    """FOLDER/ID. `described` is what the custody log says of it, and then nothing but what was `done`; `imported` what
    the ledger says of the file that it was made from.
    `lost` segments are gaps in every rendition; the rung's last segment is not there for a full disk."""
    place, chance = folder / recording, random.Random(seed)
    place.mkdir(parents=True)
    ledger = Ledger(place)
    started: dict[str, Any] = {"broadcast": recording, "channel": "bunge", "channel_id": 1, "institution_id": 1}
    if imported is not None:
        started["import"] = imported
    ledger.append(make_fact("started", ORIGIN_MS, **started, recording=recording, origin_ms=ORIGIN_MS))
    for name, kind in RENDITIONS.items():
        (place / name).mkdir()
        ledger.append(make_fact("rendition", ORIGIN_MS, name=name, kind=kind, codecs="avc1.64001f"))
        _add(ledger, place, name, "init-0.mp4", chance.randbytes(200), ORIGIN_MS)
    for msn in range(segments):
        span = {"msn": msn, "from_ms": msn * segment_ms, "to_ms": (msn + 1) * segment_ms}
        now_ms = ORIGIN_MS + span["to_ms"]
        if msn in lost:
            ledger.append(make_fact("lost", now_ms - segment_ms, at_ms=span["from_ms"], cause="feed lost"))
        for name in RENDITIONS:
            if msn in lost:
                ledger.append(make_fact("absent", now_ms, rendition=name, **span, cause="no media"))
            elif name == "480p" and msn == segments - 1:
                ledger.append(make_fact("absent", now_ms, rendition=name, **span, cause="disk full"))
            else:
                _add(ledger, place, name, f"{msn}.m4s", chance.randbytes(900 + msn), now_ms, **span)
        if msn in lost:
            told = {"from_ms": span["from_ms"], "to_ms": span["to_ms"], "cause": "feed lost"}
            ledger.append(make_fact("gap", now_ms, **told, **({"is_back": True} if msn + 1 < segments else NEVER_BACK)))
    end_ms = segments * segment_ms
    for name in RENDITIONS if is_over else ():
        _add(ledger, place, name, "index.m3u8", b"#EXTM3U\n", ORIGIN_MS + end_ms)
    if is_over:
        ledger.append(make_fact("ended", ORIGIN_MS + end_ms, duration_ms=end_ms, size_bytes=1, reason="unpublished"))
    custody = Ledger(place, CUSTODY_NAME)
    agent = {"agent": "mbashara", "outcome": "success"}
    titles = {
        "broadcast": {"title_sw": "Kikao cha Bunge", "title_en": "Sitting of Parliament"},
        "institution": {"name_sw": "Bunge", "name_en": ""},
    }
    custody.append(make_fact("ingestion", ORIGIN_MS + end_ms, **agent, detail="all files are there"))
    said: Mapping[str, Any] = described or titles
    custody.append(make_fact("described", ORIGIN_MS + end_ms, agent="Asha Mushi <asha@bunge.go.tz>", **said))
    if described is None:
        checked = {"agent": "mbashara", "outcome": "fail", "files": 20, "location": "b"}
        custody.append(make_fact("fixity check", ORIGIN_MS + end_ms, **checked))
    for fact, detail in done.items():
        custody.append(make_fact(fact, ORIGIN_MS + end_ms, **agent, **detail))
    if is_signed:
        sign(place)
    return place


def _add(ledger: Ledger, place: Path, rendition: str, name: str, data: bytes, now_ms: float, **span: int) -> None:
    (place / rendition / name).write_bytes(data)
    known = {"rendition": rendition, "name": f"{rendition}/{name}", **span}
    ledger.append(make_fact("file", now_ms, **known, size=len(data), sha256=hashlib.sha256(data).hexdigest()))


def sign(place: Path, after_ms: int = 90_000) -> None:
    """As work does it at the end: over the heads of ledger and custody as they are."""
    signatures = Ledger(place, SIGNATURES_NAME)
    line = make_fact("signature", ORIGIN_MS + after_ms, recording=place.name, key=base64.b64encode(PUBLIC_KEY).decode())
    for name, file in (("ledger", "ledger.jsonl"), ("custody", CUSTODY_NAME)):
        data = (place / file).read_bytes()
        line |= {f"{name}_bytes": len(data), f"{name}_head": hashlib.sha256(data.splitlines()[-1]).hexdigest()}
    text = signed_text(place.name, {**line, "prev": signatures.head})
    signatures.append({**line, "signature": base64.b64encode(KEY.sign(text)).decode()})


def is_genuine(document: Mapping[str, Any], keys: Collection[bytes] | None = None) -> bool:
    """Whether a sealed statement is unaltered and signed; by one of `keys` where they are given."""
    try:
        sha256 = hashlib.sha256(statement.canonical(document["statement"])).hexdigest()
        key = base64.b64decode(document["signature"]["key"])
        signature = base64.b64decode(document["signature"]["signature"])
        text = statement.signed_text(document["statement"]["recording"], sha256)
    except (KeyError, TypeError, ValueError):
        return False
    is_ours = keys is None or key in keys
    return is_ours and document.get("sha256") == sha256 and check_ed25519(key, text, signature)
