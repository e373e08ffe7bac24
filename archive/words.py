"""The room's words: English in the code, Swahili in locale/."""

from pathlib import Path

from core.web.i18n import Language, catalogue

LOCALE = Path(__file__).parent / "locale"


def N_(message: str) -> str:
    """Marks what is translated when it is told."""
    return message


def translate(message: str, language: Language) -> str:
    return catalogue(language, LOCALE).gettext(message)
