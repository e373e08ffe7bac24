"""Errors that people read: English in the code, Swahili in a room's locale/, told in the language of whoever reads."""

from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from core.problems import LOCALE

if TYPE_CHECKING:
    from core.web.i18n import Language

Text = Callable[["Language"], str]
"""Says something in a language."""


def N_(message: str) -> str:
    """Marks what is translated when it is told."""
    return message


class PlainError(Exception):
    """`message` is a catalogue's id, filled by `values` (`told`); or says itself in a language. `catalogues` are the
    folders that have its Swahili. As a `str`, for logs and rows that ask nobody's language, it is in both."""

    catalogues: ClassVar[tuple[Path, ...]] = ()

    def __init__(self, message: "str | Text", **values: object) -> None:
        self.message, self.values = message, values
        super().__init__(message, values)

    def text(self, language: "Language") -> str:
        if callable(self.message):
            return self.message(language)
        return told(language, self.message, self.values, *self.catalogues)

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """What a workflow keeps of it: how it was told."""
        return type(self), (str(self),)

    def __str__(self) -> str:
        return beside(self.text(one) for one in _languages())


def told(language: "Language", message: str, values: Mapping[str, object], *catalogues: Path) -> str:
    """A value that is an error of ours is told in that language too; of the system's, what it says of itself."""
    from core.web.i18n import catalogue  # long to load, and of no use to those who are told nothing

    gettext = catalogue(language, *catalogues, LOCALE).gettext
    filled = {name: _value(one, language, gettext) for name, one in values.items()}
    return gettext(message).format(**filled) if filled else gettext(message)


def _value(value: object, language: "Language", gettext: Callable[[str], str]) -> object:
    if isinstance(value, PlainError):
        return value.text(language)
    if isinstance(value, OSError) and value.strerror:
        return gettext(value.strerror)
    return value


def beside(texts: Iterable[str]) -> str:
    """The same in several languages: what they all begin with, a file's name say, is told once."""
    first, *others = (one.split(": ") for one in dict.fromkeys(texts))
    same = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, zip(first, *others, strict=False)))
    return " / ".join(map(": ".join, (first, *(one[same:] for one in others))))


def _languages() -> "tuple[Language, ...]":
    from core.web.i18n import Language

    return Language.EN, Language.SW


STRERRORS = (
    N_("Address already in use"), N_("Cannot assign requested address"), N_("File exists"), N_("File name too long"),
    N_("File too large"),
    N_("Input/output error"), N_("Invalid argument"), N_("Is a directory"), N_("No space left on device"),
    N_("No such file or directory"), N_("Not a directory"), N_("Operation not permitted"), N_("Permission denied"),
    N_("Read-only file system"), N_("Too many levels of symbolic links"), N_("Too many open files"),
)  # fmt: skip
"""What the system says where it refuses; of anything rarer people read its English."""
