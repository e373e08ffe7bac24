"""Who acted, as the audit and custody logs have it, in words."""

from pathlib import Path

from core.audit import COMMAND_LINE, NOT_LOGGED_IN, PROGRAM, WEBHOOKS
from core.web.i18n import Language, catalogue

LOCALE = Path(__file__).parent / "locale"


def actor(name: str, language: Language) -> str:
    """An account's name as it is; of an act by command that it was one, beside the system's name for whoever ran it; of
    another program's that it was one, with its token's name."""
    gettext = catalogue(language, LOCALE).gettext
    if name == NOT_LOGGED_IN:
        return gettext("not logged in")
    if name.startswith(PROGRAM):
        return gettext("program {name}").format(name=name.removeprefix(PROGRAM))
    if name == WEBHOOKS:
        return gettext("webhooks")
    if name != COMMAND_LINE and not name.startswith(f"{COMMAND_LINE} ("):
        return name
    return gettext("command line") + name.removeprefix(COMMAND_LINE)
