"""What a recording's papers have grown by since they were last put whole, in one small file beside them at a place.

Papers are put whole, and so every few minutes only while a broadcast is on the air; this file follows each signature.
Where this machine is lost, a rebuild has all that was signed and copied until some seconds before. It says nothing by
itself: what it adds counts if the papers are whole and signed with it (`fetch.py`).
"""

import json
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from archive.recordings.ledger import has_ended
from archive.recordings.locations.errors import Missing
from archive.recordings.locations.store import Store
from archive.recordings.verify import LEDGER_NAME, NEWEST_NAME, PAPERS, SIGNATURES_NAME

TAIL_BYTES = 1 << 16
MAX_BYTES = 64 << 20
"""Of a place's file of this kind; some minutes are a thousandth of it."""


def follow(store: Store, folder: Path, copied_bytes: int) -> None:
    """Puts it, up to the last signature of no more than what is copied there, `copied_bytes` of the ledger: else a
    rebuild would ask for files that never came. Removes it once the recording has ended and the papers there are whole.
    Raises StoreError, OSError, ValueError for papers here that can't be read."""
    key = f"{folder.name}/{NEWEST_NAME}"
    begins = {name: _size(store, f"{folder.name}/{name}") for name in PAPERS}
    signatures = _read(folder / SIGNATURES_NAME, begins[SIGNATURES_NAME])
    if not any("signature" in json.loads(line) for line in signatures.split(b"\n")[:-1]):
        if has_ended(folder) and _size(store, key):
            store.delete(key)
        return
    signatures = reached(signatures, copied_bytes)
    signed = [told for told in map(json.loads, signatures.splitlines()) if "signature" in told]
    if not signed or not begins[LEDGER_NAME]:
        return
    ends = (signed[-1]["ledger_bytes"], signed[-1]["custody_bytes"], begins[SIGNATURES_NAME] + len(signatures))
    told = {
        name: {"from": begins[name], "text": _read(folder / name, begins[name], end).decode()}
        for name, end in zip(PAPERS, ends, strict=True)
    }
    data = json.dumps(told).encode()
    if len(data) <= MAX_BYTES:
        store.put_bytes(key, data, replace=True, lock=False)


def reach(folder: Path, copied_bytes: int) -> int:
    """How many bytes of the signatures here sign no more than so much of the ledger; 0: none of the last ones. Raises
    OSError."""
    path = folder / SIGNATURES_NAME
    end = path.stat().st_size
    lines = _read(path, max(0, end - TAIL_BYTES)).splitlines(keepends=True)
    with suppress(ValueError):  # the first of them may lack its beginning, the last its end
        for line in reversed(lines):
            told = json.loads(line) if line.endswith(b"\n") else {}
            if "signature" in told and told["ledger_bytes"] <= copied_bytes:
                return end
            end -= len(line)
    return 0


def reached(signatures: bytes, ledger_bytes: int) -> bytes:
    """The lines before the first that signs more of the ledger. Raises ValueError."""
    lines = signatures[: signatures.rfind(b"\n") + 1].splitlines(keepends=True)
    kept = [*takewhile(lambda line: json.loads(line).get("ledger_bytes", 0) <= ledger_bytes, lines)]
    return b"".join(kept)


def add(store: Store, recording_id: str, folder: Path) -> bool:
    """Appends to the papers in `folder` what goes on from them; whether there was any. Raises StoreError, OSError."""
    told = bytearray()
    with suppress(Missing):
        for chunk in store.open(f"{recording_id}/{NEWEST_NAME}"):
            told += chunk
            if len(told) > MAX_BYTES:
                return False
    more = dict[Path, bytes]()
    try:
        found = json.loads(told or b"{}")
        for name in PAPERS:
            one = found.get(name, {"from": 0, "text": ""})
            path, begin, data = folder / name, int(one["from"]), str(one["text"]).encode()
            here = path.stat().st_size if path.exists() else 0
            if 0 <= begin <= here < begin + len(data) and _read(path, begin) == data[: here - begin]:
                more[path] = data[here - begin :]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return False
    for path, data in more.items():
        with path.open("ab") as file:
            file.write(data)
    return bool(more)


def _size(store: Store, key: str) -> int:
    try:
        return store.stat(key).size_bytes
    except Missing:
        return 0


def _read(path: Path, begin: int, end: int | None = None) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(begin)
        return file.read() if end is None else file.read(max(0, end - begin))
