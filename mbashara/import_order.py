"""What import_file.py is asked to make, and the words in which it says what became of it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from transcode.files.facts import Refused, Trouble


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made. `channel` are the ledger's facts of it; `at_ms` is the wall clock (Unix) of the file's first
    picture, None: as the file says, else `now_ms`. `sha256`: what was sent, where that is known. `embargo`:
    `until`, in ISO 8601 or null; not why, as the ledger is for everyone one day."""

    id: str
    file: str
    name: str
    size: int
    sha256: str | None
    at_ms: int | None
    now_ms: int
    recordings: str
    channel: Mapping[str, Any]
    title_sw: str
    title_en: str
    by: str
    embargo: Mapping[str, Any] | None
    takes_short: bool
    has_ladder: bool
    longest_ms: int
    target_duration_s: int
    part_target_s: float
    min_free_bytes: int

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class Failed(Exception):
    """The file becomes no recording, and why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.trouble)
        self.refused = refused


def fail(trouble: Trouble, read_ms: float = 0, told_ms: float = 0) -> Failed:
    return Failed(Refused(trouble, round(read_ms), round(told_ms)))


def tell(**told: Any) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 # the lines that work reads


def has_space(order: Order) -> bool:
    return shutil.disk_usage(order.recordings).free > order.min_free_bytes
