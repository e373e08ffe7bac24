"""Why a preview is refused or ended, typed, and what it says to the engineer: English here, Swahili in locale/."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

LOCALE = Path(__file__).parent.parent / "locale"


class Reason(StrEnum):
    NO_FEED = "noFeed"
    BAD_OFFER = "badOffer"
    NO_H264 = "noH264"
    B_FRAMES = "bFrames"
    PICTURE_FORMAT = "pictureFormat"
    FEED_FULL = "feedFull"
    WORKER_FULL = "workerFull"


class PreviewRefused(Exception):
    """No session came of the offer."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


STATUS = {
    Reason.NO_FEED: 404,
    Reason.BAD_OFFER: 400,
    Reason.NO_H264: 406,
    Reason.B_FRAMES: 409,
    Reason.PICTURE_FORMAT: 409,
    Reason.FEED_FULL: 503,
    Reason.WORKER_FULL: 503,
}


def N_(message: str) -> str:
    """Marks what is translated when it is told."""
    return message


TEXTS = {
    Reason.NO_FEED: N_("No encoder is sending on this feed now."),
    Reason.BAD_OFFER: N_("The browser's offer for the preview can't be read. Reload the page."),
    Reason.NO_H264: N_("This browser can't play H.264 over WebRTC. Use a recent Chrome, Edge, Firefox or Safari."),
    Reason.B_FRAMES: N_(
        "The preview can't show this feed because it has B-frames; viewers do see it. "
        "Set B-frames to 0 in the encoder (x264: the zerolatency tune)."
    ),
    Reason.PICTURE_FORMAT: N_(
        "The preview can't show this feed's picture format. Set the encoder to 8-bit 4:2:0 (yuv420p, NV12)."
    ),
    Reason.FEED_FULL: N_("This feed has as many previews as it may have. Close one, then try again."),
    Reason.WORKER_FULL: N_("This machine has as many previews as it may have. Close one, then try again."),
}


def explain(reason: Reason) -> Mapping[str, str]:
    """In every language, by its code. Reads the catalogue, so not for a loop."""
    from core.web.i18n import Language, catalogue  # loads babel, which a media process has no other use for

    return {language: catalogue(language, LOCALE).gettext(TEXTS[reason]) for language in Language}
