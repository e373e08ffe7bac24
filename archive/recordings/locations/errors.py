"""What can go wrong with a store, each with a line that a person understands, in English and in Swahili."""

from typing import ClassVar

from archive.recordings.locations import reasons
from core.web.i18n import Language


class StoreError(Exception):
    """The root of the room. `location` is its name; `detail` says what exactly, and holds no secret."""

    en: ClassVar[str] = "the store refuses"
    sw: ClassVar[str] = "hifadhi imekataa"

    def __init__(self, location: str, detail: str) -> None:
        super().__init__(location, detail)
        self.location, self.detail = location, detail

    def __str__(self) -> str:
        return f"location {self.location}: {self.en} / {self.sw}: {self.detail}"

    def text(self, language: Language) -> str:
        reason = reasons.tell(self.detail, language)
        if language is Language.EN:
            return f"location {self.location}: {self.en}: {reason}"
        return f"mahali {self.location}: {self.sw}: {reason}"


class Unreachable(StoreError):
    """No answer, no whole answer or 5xx after every retry; or the folder or bucket itself is away. Try again later."""

    en = "it can't be reached"
    sw = "haifikiki"


class Refused(StoreError):
    """The credentials are wrong, or may not do this."""

    en = "it does not let us in"
    sw = "haituruhusu"


class Full(StoreError):
    en = "it is full"
    sw = "imejaa"


class Missing(StoreError):
    """There is nothing at the key, and the location itself is there."""

    en = "it does not hold this"
    sw = "haina hiki"


class Conflict(StoreError):
    """Something else is at the key already. It was left as it is."""

    en = "it holds something else under this name"
    sw = "ina kitu kingine kwa jina hili"


class Damaged(StoreError):
    """What the store holds, or what came of it, is not what was meant to be there."""

    en = "what it holds is damaged"
    sw = "ilichohifadhi kimeharibika"


class SourceDamaged(StoreError):
    """The file to be put is not what its SHA-256 says. Nothing was put."""

    en = "the file to be copied is damaged here"
    sw = "faili la kunakiliwa limeharibika hapa"


class Locked(StoreError):
    """A retention or a legal hold keeps it from being removed."""

    en = "it is locked there"
    sw = "imefungwa huko"


class Unsupported(StoreError):
    """The store has no such thing as a hold, a retention."""

    en = "it can't do this"
    sw = "haiwezi kufanya hivi"
