"""Errors of the program that people read; their Swahili stands in mbashara/locale."""

from pathlib import Path

from core.plain import PlainError
from core.wrong_input import WrongInput

LOCALE = Path(__file__).parent / "locale"


class ProgramError(PlainError):
    """The root of those below."""

    catalogues = (LOCALE,)


class DataError(ProgramError):
    """The data folder can't be used; one line."""


class UserError(ProgramError, ValueError):
    """What was asked can't be done; one line."""


class WrongSetting(WrongInput):
    catalogues = (LOCALE,)
