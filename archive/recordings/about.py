"""What people know a recording by: who put it on the air, on which channel, under which titles."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from archive.recordings import rows
from archive.recordings.ledger import CUSTODY_NAME, read_facts
from core.tables import Institution
from core.web.i18n import Language


@dataclass(frozen=True, slots=True)
class About:
    """Names are in Swahili and English; one that nobody gave is empty."""

    recording_id: str
    channel: str
    institution_sw: str
    institution_en: str
    title_sw: str
    title_en: str

    def institution(self, language: Language) -> str:
        return _pick(language, self.institution_sw, self.institution_en) or self.channel

    def title(self, language: Language) -> str:
        return _pick(language, self.title_sw, self.title_en) or self.recording_id


def _pick(language: Language, swahili: str, english: str) -> str:
    return (swahili or english) if language is Language.SW else (english or swahili)


def from_files(folder: Path) -> About:
    """From the recording's own files alone: its first fact, and the last that people said of it. Raises OSError."""
    started: dict[str, Any] = next(read_facts(folder), {})
    channel = str(started.get("channel", ""))
    about = About(recording_id(started, folder), channel, "", "", "", "")
    for fact in read_facts(folder, CUSTODY_NAME):
        if fact.get("fact") == "described":
            owner, titles = fact["institution"], fact["broadcast"]
            about = replace(
                about, institution_sw=owner["name_sw"], institution_en=owner["name_en"], title_sw=titles["title_sw"],
                title_en=titles["title_en"],
            )  # fmt: skip
    return about


def recording_id(started: dict[str, Any], folder: Path) -> str:
    """Which recording a ledger that begins with `started` is of."""
    return str(started.get("recording") or started.get("broadcast") or folder.name)


def from_rows(session: Session, recording: str) -> About | None:
    found = rows.find_recording(session, recording)
    if found is None:
        return None
    _, broadcast, channel = found
    owner = session.get_one(Institution, channel.institution_id)
    return About(recording, channel.slug, owner.name_sw, owner.name_en, broadcast.title_sw, broadcast.title_en)
