"""The words that the browser shell says: the page hands them over in its language (player/shell/words.js)."""

from collections.abc import Callable


def _mark(message: str) -> str:
    """Marks a message for extraction; it is translated when a page is rendered."""
    return message


_ = _mark

# key of the shell -> English words (the message id); {braces} are filled in by the shell
SHELL_WORDS = {
    "play": _("Play"),
    "pause": _("Pause"),
    "mute": _("Mute"),
    "unmute": _("Unmute"),
    "soundOnly": _("Sound only"),
    "withPicture": _("Show the picture"),
    "fullscreen": _("Full screen"),
    "leaveFullscreen": _("Leave full screen"),
    "automatic": _("Automatic"),
    "sound": _("Sound"),
    "perHour": _("{mb} MB an hour"),
    "delay": _("Delay: {seconds} s"),
    "positionOf": _("{position} of {length}"),
    "positionLive": _("Live, {clock}"),
    "positionBehind": _("{behind} behind live, {clock}"),
    "checking": _("Checking whether the broadcast is on"),
    "ready": _("{name} is on air"),
    "readyText": _("No video or sound is loaded until you press play."),
    "watch": _("Watch live"),
    "recording": _("Recording"),
    "watchRecording": _("Play"),
    "before": _("The broadcast has not started yet"),
    "beforeText": _("No need to reload: this page notices by itself when it starts."),
    "arm": _("Play when it starts"),
    "armedText": _("It will play by itself."),
    "disarm": _("Do not play by itself"),
    "starting": _("Starting"),
    "paused": _("Paused"),
    "resume": _("Continue"),
    "buffering": _("Loading"),
    "lost": _("The feed is interrupted"),
    "lostText": _("It comes back by itself; your place is kept."),
    "lostFirstText": _("It comes back by itself."),
    "armAgain": _("Play when it is back"),
    "ended": _("The broadcast has ended"),
    "endedText": _("The recording is ready to watch."),
    "endedBareText": _("Thank you for being with us."),
    "recordingEnded": _("End of the recording"),
    "again": _("Play again"),
    "retrying": _("No connection"),
    "retryingText": _("Trying again in {seconds} s."),
    "cutOffText": _("It goes on by itself when the network is back."),
    "retry": _("Try now"),
    "unsupported": _("This browser cannot play the broadcast"),
    "unsupportedText": _("A newer browser can. Chrome, Firefox and Safari are free."),
}

KEY_HELP = (
    (("K", "␣"), _("Play or pause")),
    (("J", "←"), _("Back 10 seconds")),
    (("L", "→"), _("Forward 10 seconds")),
    ((".", "End"), _("Jump to live")),
    (("M",), _("Sound on or off")),
    (("↑", "↓"), _("Louder or quieter")),
    (("A",), _("Sound only")),
    (("F",), _("Full screen")),
    (("?",), _("Show these keys")),
)


def shell_words(gettext: Callable[[str], str]) -> dict[str, str]:
    return {key: gettext(message) for key, message in SHELL_WORDS.items()}


def key_help(gettext: Callable[[str], str]) -> list[tuple[tuple[str, ...], str]]:
    return [(keys, gettext(message)) for keys, message in KEY_HELP]
