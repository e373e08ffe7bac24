"""Why a bag is refused, in plain words: English here, Swahili in locale/."""

from enum import StrEnum

from archive.words import N_, translate
from core.web.i18n import Language


class Fault(StrEnum):
    """`{name}` is the file or word of the bag that is meant."""

    NO_BAG = N_("This is no BagIt package: {name} is missing or wrong.")
    ENCODING = N_("{name} is not text in UTF-8.")
    MALFORMED = N_("{name} has a line that can't be read.")
    CUT_OFF = N_("The package is not whole: it ends in the middle of {name}.")
    ESCAPES = N_("The name {name} leads out of the package. Nothing was taken from it.")
    ODD_NAME = N_("The name {name} is not one that a recording has.")
    TWICE = N_("The name {name} is there twice, or another differs from it in capitals or accents alone.")
    NO_FILE = N_("{name} is not a plain file or folder. Links and devices are refused.")
    ALGORITHM = N_("The checksums of {name} are of a kind that is not known here. SHA-256 or SHA-512 is needed.")
    FETCH = N_("The package wants files from the network (fetch.txt). Only whole packages are taken.")
    MISSING = N_("{name} is named in the package and is not there.")
    EXTRA = N_("{name} is there and not named in the package.")
    CHECKSUM = N_("{name} is not what it was: its checksum is wrong.")
    OXUM = N_("The package says that it has {name} bytes and files, and has not.")
    TOO_LARGE = N_("{name} is larger than it may be.")
    NO_ROOM = N_("The disk has no room for the package: {name} bytes are needed.")
    NO_RECORDING = N_("There is no recording in the package: {name} is missing or wrong.")
    LEDGER = N_("The recording does not agree with its ledger: {name}")
    STRANGER = N_(
        "The key {name} signed it, and nobody here vouches for that. "
        "Name the keys that its institution published: --keys keys.json."
    )
    ANOTHER = N_("The recording {name} is here already, with another ledger. It was left as it is.")
    ON_AIR = N_("The recording {name} is still on the air. Export it when it has ended.")
    DESTROYED = N_("The recording {name} was destroyed by order: its papers alone are left.")
    UNSIGNED = N_("The recording {name} is not signed to its end yet. Try again in a minute.")
    BUSY = N_("The recording {name} is just being taken in by someone else.")
    OWNER = N_("The package is of {name}, which is not here. Say whose it becomes: --institution SLUG --channel SLUG.")
    TAKEN = N_("{name} is there already. Choose another name.")


DAMAGE = {
    Fault.ENCODING, Fault.MALFORMED, Fault.TWICE, Fault.MISSING, Fault.EXTRA, Fault.CHECKSUM, Fault.OXUM, Fault.LEDGER,
}  # fmt: skip
"""What becomes of a bag on its way, and does not say so itself."""
DAMAGED = N_("The package is damaged: {why}")
NOTHING_CHANGED = N_("Nothing here was changed.")
HERE_ALREADY = N_("The recording {recording} is here already and was left as it is.")


class BagError(Exception):
    """The bag is refused; nothing of it is among the recordings. `here`: which of these it is of, where it is of one;
    empty where of none, or it does not tell; None where nobody was to take it in."""

    def __init__(self, fault: Fault, name: str = "", here: str | None = None) -> None:
        super().__init__(fault.value.format(name=name[:200]))
        self.fault, self.name, self.here = fault, name[:200], here

    def text(self, language: Language) -> str:
        why = translate(self.fault.value, language).format(name=self.name)
        if self.here is None or self.fault is Fault.ANOTHER:
            return why
        left = translate(HERE_ALREADY if self.here else NOTHING_CHANGED, language).format(recording=self.here)
        is_damage = bool(self.here) and self.fault in DAMAGE
        said = translate(DAMAGED, language).format(why=why) if is_damage else why
        return f"{said} {left}"
