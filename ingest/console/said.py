"""An error of core, which says itself in English and Swahili, in the reader's language."""

from core.plain import PlainError
from core.web.site import View


def said(view: View, error: Exception) -> str:
    if isinstance(error, PlainError):
        return error.text(view.language)
    english, _, swahili = str(error).partition(" / ")
    return view.pick(swahili or english, english)
