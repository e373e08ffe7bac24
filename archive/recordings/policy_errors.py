"""Why an act of the archive's rules can't be done: said in English and Swahili; nothing was changed."""

from datetime import datetime
from typing import ClassVar

from archive.words import N_, translate
from core.web.dates import EAST_AFRICA_TIME
from core.web.i18n import Language


class PolicyError(ValueError):
    """Root of these errors. `values` fill the braces of `message`; times are told in East Africa Time."""

    message: ClassVar[str] = ""

    def __init__(self, **values: object) -> None:
        self.values = {
            name: f"{at(value)} EAT" if isinstance(value, datetime) else value for name, value in values.items()
        }
        super().__init__(str(self))

    def said(self, language: Language) -> str:
        return translate(self.message, language).format(**self.values)

    def __str__(self) -> str:
        return f"{self.said(Language.EN)} / {self.said(Language.SW)}"


def at(when: datetime) -> str:
    """2026-11-28 14:00:00, in East Africa Time."""
    return when.astimezone(EAST_AFRICA_TIME).strftime("%Y-%m-%d %H:%M:%S")


class NoSuchRecording(PolicyError):
    message = N_("There is no recording {recording}.")


class BadReason(PolicyError):
    message = N_("Give a reason of 1 to 1000 characters.")


class NoSuchHold(PolicyError):
    message = N_("There is no such hold on this recording.")


class HoldIsLifted(PolicyError):
    message = N_("This hold was lifted already.")


class BadUntil(PolicyError):
    message = N_("The end of an embargo must lie in the future.")


class NotEmbargoed(PolicyError):
    message = N_("This recording is not under embargo.")


class BadYears(PolicyError):
    message = N_("Give 1 to 1000 years, or for ever.")


class NoSuchRule(PolicyError):
    message = N_("There is no such rule.")


class NoSuchChannel(PolicyError):
    message = N_("This institution has no such channel.")


class Disposed(PolicyError):
    message = N_("This recording was destroyed by order.")


class Blocked(PolicyError):
    """What stands against destroying a recording."""


class HoldStands(Blocked):
    message = N_("A legal hold stands: {reason}.")


class KeptForEver(Blocked):
    message = N_("This recording is to be kept for ever.")


class RetentionStands(Blocked):
    message = N_("This recording is to be kept until {until}.")


class OnTheAir(Blocked):
    message = N_("This recording is still on the air, or not closed yet.")


class BeingCopied(Blocked):
    message = N_("A copy of this recording is being made at {location}.")


class AlreadyAsked(PolicyError):
    message = N_("Its disposal was asked for already.")


class NoSuchRequest(PolicyError):
    message = N_("There is no such request.")


class NotOpen(PolicyError):
    """Somebody else was faster."""

    message = N_("This request is no longer open.")


class SamePerson(PolicyError):
    message = N_("Whoever asked may not approve: it takes another person.")


class OutOfReach(PolicyError):
    message = N_(
        "A copy lies at {location}, which is forgotten: this order doesn't reach it. Put the place back first, or "
        "approve knowing that it stays there until the place is back."
    )


class NeedsAccount(PolicyError):
    """The command line, or a program, is nobody in particular."""

    message = N_("Only a person with an account can do this.")


class NoRight(PolicyError):
    message = N_("This account has not the right to do this.")


class NoSuchCopy(PolicyError):
    message = N_("There is no finished copy of this recording at {location}.")


class OrderStands(PolicyError):
    message = N_("An order for this copy is being carried out.")


class NothingToOrder(PolicyError):
    message = N_("There is nothing in this plan that could be ordered.")


class NoCopies(PolicyError):
    message = N_("There are no copies at {location}.")


class NothingLeft(PolicyError):
    message = N_("No copy is known to lie at {location} since it was forgotten.")


class LeavesTooFew(PolicyError):
    message = N_(
        "{count} recordings have fewer than two whole copies without those at {location}, or wait to be destroyed "
        "there. Copy them elsewhere first, or say --even-so."
    )
