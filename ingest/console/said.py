"""An error of core, which says itself in English and Swahili, in the reader's language."""

from core.web.site import View


def said(view: View, error: Exception) -> str:
    english, _, swahili = str(error).partition(" / ")
    return view.pick(swahili or english, english)
