"""What was found of a clip, in plain words: for the command line, and for anyone who asks whether a clip is genuine."""

from collections.abc import Iterator

from archive.recordings.clips import SYNC_TOLERANCE_MS, Finding, Span, TrackFinding, Verdict
from archive.recordings.export_credentials import Credentials, Standing
from archive.recordings.verify import Found, here, wall_clock
from archive.words import N_, translate
from core.media.packet import Kind
from core.web.dates import duration
from core.web.i18n import Language

MOST_SPANS = 8
"""Of what is lacking or foreign so many are named; the rest is counted."""
VERDICTS = {
    Verdict.WHOLE: N_("GENUINE: all of it is in the recording, in the same order, and nothing between is left out."),
    Verdict.TORN: N_("CUT OFF in the middle of a packet, as a download that broke off: what comes before it is of the recording, with nothing left out. Ask for the whole file."),  # noqa: E501
    Verdict.CUT: N_("CUT: all of it is in the recording and in the same order, but something between is left out."),
    Verdict.REORDERED: N_("PUT INTO ANOTHER ORDER: all of it is in the recording, but not in this order, or not so often."),  # noqa: E501
    Verdict.RETIMED: N_("PLAYED AT ANOTHER SPEED: all of it is in the recording, but it was faster or slower."),
    Verdict.SOUND_ELSEWHERE: N_("SOUND OF ANOTHER MOMENT: picture and sound are of the recording, but not of the same moment."),  # noqa: E501
    Verdict.PARTLY: N_("HALF PROVEN: either the picture or the sound is of the recording; of the other nothing can be proven."),  # noqa: E501
    Verdict.RE_ENCODED: N_("NOT PROVEN: nothing of it is in this recording, and it is encoded otherwise. It may be of another recording, or encoded anew: ask for the file as it was first."),  # noqa: E501
    Verdict.NOT_FOUND: N_("NOT OF THIS RECORDING: nothing of it is there. It may be of another one, or encoded anew."),
    Verdict.CHANGED: N_("CHANGED: what is not in the recording stands among what is."),
    Verdict.UNREADABLE: N_("UNREADABLE: the file is no video and no sound that can be taken apart."),
}  # fmt: skip
STANDINGS = {
    Standing.VALID: N_("Content credentials: they hold, signed by {signer}."),
    Standing.UNKNOWN_SIGNER: N_("Content credentials: they hold, but nobody known to us signed them ({signer})."),
    Standing.CHANGED: N_("Content credentials: the file was changed after it was signed by {signer}."),
    Standing.BROKEN: N_("Content credentials: they are broken and prove nothing."),
    Standing.NONE: N_("Content credentials: there are none. Many sites remove them; that alone means nothing."),
    Standing.UNREADABLE: N_("Content credentials: this kind of file can't be asked for them."),
}
KINDS = {Kind.VIDEO: N_("picture"), Kind.AUDIO: N_("sound")}


def explain(finding: Finding, language: Language) -> list[str]:
    """The verdict first, then when it was, then what is wrong with each track."""
    told = [translate(VERDICTS[finding.verdict], language)]
    if finding.from_ms is not None and finding.to_ms is not None:
        begins, ends = (here(wall_clock(finding.origin_ms + at)) for at in (finding.from_ms, finding.to_ms))
        told.append(translate(N_("What is of the recording is from {begins} to {ends} (East Africa Time)."), language)
                    .format(begins=begins, ends=ends))  # fmt: skip
    for track in finding.tracks:
        told += _track(finding, track, language)
    if abs(finding.sound_ms) > SYNC_TOLERANCE_MS:
        late = N_("The sound was recorded {seconds} s later than the picture that it stands under.")
        early = N_("The sound was recorded {seconds} s earlier than the picture that it stands under.")
        words = translate(late if finding.sound_ms > 0 else early, language)
        told.append(words.format(seconds=f"{abs(finding.sound_ms) / 1000:.1f}"))
    return told


def _track(finding: Finding, track: TrackFinding, language: Language) -> Iterator[str]:
    kind = translate(KINDS[track.kind], language)
    if track.found == 0:
        words = N_("The {kind}: nothing of it is in the recording.")
        yield translate(words, language).format(kind=kind)
        return
    words = N_("The {kind}: {found} of {packets} packets are the recording's, byte for byte ({rendition}).")
    yield translate(words, language).format(
        kind=kind, found=track.found, packets=track.packets, rendition=track.rendition
    )
    for span in track.lacking[:MOST_SPANS]:
        words = N_("  Left out: {seconds} s, from {begins} to {ends}.")
        begins, ends = (here(wall_clock(finding.origin_ms + at)) for at in (span.from_ms, span.to_ms))
        yield translate(words, language).format(seconds=_seconds(span), begins=begins, ends=ends)
    for span in track.foreign[:MOST_SPANS]:
        one = N_("  Not in the recording: {packets} packet, at {begins} of the clip.")
        words = N_("  Not in the recording: {packets} packets, from {begins} to {ends} of the clip.")
        yield translate(one if span.packets == 1 else words, language).format(
            packets=span.packets, begins=duration(span.from_ms), ends=duration(span.to_ms)
        )
    if track.torn_ms is not None:
        words = N_("  The last packet, at {at} of the clip, is cut off; what is there of it is the recording's.")
        yield translate(words, language).format(at=duration(track.torn_ms))
    more = len(track.lacking[MOST_SPANS:]) + len(track.foreign[MOST_SPANS:])
    if more:
        yield translate(N_("  And {more} more such places."), language).format(more=more)
    if track.verdict is Verdict.RETIMED:
        yield translate(N_("  It is played {pace} times as fast as it was."), language).format(pace=f"{track.pace:g}")


def _seconds(span: Span) -> str:
    return f"{(span.to_ms - span.from_ms) / 1000:.1f}"


def explain_credentials(credentials: Credentials, language: Language) -> str:
    return translate(STANDINGS[credentials.standing], language).format(signer=credentials.signer or "?")


def explain_found(found: Found, language: Language) -> str:
    """Of a file that is the recording's own, or an export of it."""
    span = f"{here(found.since)} – {here(found.until)}" if found.since and found.until else ""
    words = N_("GENUINE, to the last byte: {name} {span}")
    return translate(words, language).format(name=found.name, span=span).strip()
