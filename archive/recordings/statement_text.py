"""A completeness statement in words, in Swahili or English: what the page and the paper have in common."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archive.recordings.account import MISSING, SOUND_ONLY
from archive.recordings.brief import apart
from archive.recordings.locations.config import LOCAL
from archive.recordings.verify import PICTURE_MS
from archive.words import N_, translate
from core.web import dates
from core.web.actors import actor
from core.web.i18n import Language

CAUSES = {
    "feed lost": N_("the feed from the encoder was lost"),
    "refused": N_("the feed was lost, and an encoder that came was turned away"),
    "key revoked": N_("its stream key had been revoked"),
    "address not allowed": N_("its stream key is not allowed from its address"),
    "key in use": N_("its stream key was in use by another encoder"),
    "stalled": N_("the feed brought neither picture nor sound"),
    "no media": N_("the feed brought neither picture nor sound"),
    "process ended": N_("the program was stopped and started again"),
    "disk full": N_("the disk did not take it"),
    "file missing": N_("its file is no longer where it was"),
    "elsewhere": N_("not in this rendition; another one has it"),
    "no picture": N_("the feed brought no picture"),
    "no sound": N_("the feed brought no sound"),
    "no sound in the file": N_("the file has no sound there"),
    "no picture in the file": N_("the file has no picture there"),
    "sound only": N_("there is sound, but no picture"),
    "untold": N_("no cause is on record"),
}
OF_ONE = {**CAUSES, "no media": N_("the feed brought nothing for this rendition")}
"""Of a gap in one rendition: others may have something there."""
EVENTS = {
    "lost": N_("feed lost"),
    "back": N_("feed back"),
    "refused": N_("encoder turned away"),
    "resumed": N_("recording taken up after a restart"),
    "ended": N_("end"),
}
AS_SAID = N_("It was made from a file, not recorded from the air here: its times are as they were said at the import.")
KINDS = {"video": N_("picture"), "audio": N_("sound")}


STATES = {
    "copying": N_("being copied"),
    "whole": N_("whole"),
    "faulty": N_("faulty"),
    "held": N_("stopped, until a person has looked at it"),
}


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    none: str
    """What is said where there are no rows."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The time on the air as shares of one: (beginning, end) of each gap."""

    gaps: tuple[tuple[float, float], ...]
    begins: str
    ends: str
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    language: Language
    title: str
    heading: str
    verdict: str
    is_complete: bool
    is_unnoticed: bool
    """Something is missing, all of it so brief that nobody notices it."""
    facts: tuple[tuple[str, str], ...]
    bar: Bar
    tables: tuple[Table, ...]
    proof_title: str
    proof: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def tell(document: Mapping[str, Any], language: Language) -> Told:
    """Of a sealed statement."""
    return _Teller(document, language).told()


class _Teller:
    def __init__(self, document: Mapping[str, Any], language: Language) -> None:
        self.sealed, self.statement, self.language = document, document["statement"], language

    def say(self, message: str, **values: object) -> str:
        return translate(message, self.language).format(**values)

    def pick(self, names: Mapping[str, str], otherwise: str) -> str:
        return names[self.language] or names[self.language.other] or otherwise

    def told(self) -> Told:
        best = self.statement["best"]
        title = self.pick(self.statement["title"], self.statement["recording"])
        tables = [*self.missing(self.say(N_("What is missing")), best["gaps"]), self.renditions()]
        each = [one for one in self.statement["renditions"] if spans(one["gaps"]) not in ([], spans(best["gaps"]))]
        for one in each:
            tables += self.missing(self.say(N_("Missing in {name}"), name=one["name"]), one["gaps"], OF_ONE)
        return Told(
            self.language, title, self.say(N_("Completeness statement")), self.verdict(), self.is_whole(),
            self.is_unnoticed(),
            (
                (self.say(N_("Title")), title),
                (self.say(N_("Institution")), self.pick(self.statement["institution"], self.statement["channel"])),
                (self.say(N_("Channel")), self.statement["channel"]),
                (self.say(N_("Recording")), self.statement["recording"]),
                *self.times(),
                (self.say(N_("Held")), f"{length(best['held_ms'])} ({self.percent()})"),
                (self.say(N_("Missing")), length(best["gap_ms"])),
                *self.wait(),
                (self.say(N_("Statement made")), self.moment(self.statement["made_at"])),
                (self.say(N_("Made by")), actor(self.statement["made_by"], self.language)),
            ),
            self.bar(), (*tables, self.events(), self.copies()), self.say(N_("Proof")), self.proof(), self.notes(),
        )  # fmt: skip

    def made_from(self) -> Mapping[str, Any]:
        """Of what was on the air nothing, and of statements that were signed before there was such a thing."""
        return self.statement.get("made_from") or {}

    def times(self) -> Iterator[tuple[str, str]]:
        on_air, made = self.statement["on_air"], self.made_from()
        if made:
            yield self.say(N_("Made from the file")), str(made.get("name", "-"))
            yield self.say(N_("SHA-256 of the file")), str(made.get("sha256", "-"))
            yield self.say(N_("Imported")), self.moment(made["at"])
        yield self.say(N_("The recording begins") if made else N_("On the air from")), self.moment(on_air["from"])
        yield self.say(N_("The recording ends") if made else N_("On the air until")), self.moment(on_air["to"])
        yield self.say(N_("Length") if made else N_("Time on the air")), length(on_air["ms"])

    def waited(self) -> Mapping[str, Any]:
        """Statements that were signed before there was such a thing say nothing of it."""
        return self.statement.get("waited") or {"ms": 0}

    def wait(self) -> Sequence[tuple[str, str]]:
        waited = self.waited()
        if not waited["ms"]:
            return ()
        told = self.say(N_("{time}, until {end}"), time=length(waited["ms"]), end=self.moment(waited["to"]))
        return ((self.say(N_("Waited for the encoder")), told),)

    def destroyed_at(self) -> str:
        """Empty: it was not, or nobody told when this was signed."""
        return str(self.statement.get("destroyed", {}).get("at", ""))

    def verdict(self) -> str:
        waited = self.waited()
        if at := self.destroyed_at():
            text = N_("This recording was destroyed by order on {time}. What it was stays on record, as listed below.")
            return self.say(text, time=self.moment(at))
        if self.made_from():
            return f"{self.held_of_file()} {self.say(AS_SAID)}"
        if not waited["ms"]:
            return self.held()
        text = N_("The encoder did not come back: it was waited for {time}, and nothing was on the air in that time.")
        return f"{self.held()} {self.say(text, time=length(waited['ms']))}"

    def held(self) -> str:
        best, on_air = self.statement["best"], self.statement["on_air"]
        if not on_air["is_over"]:
            return self.say(N_("The broadcast is not over. This is what was held when the statement was made."))
        if not best["gap_ms"]:
            return self.say(N_("Everything that was on the air is held."))
        if self.is_whole():
            text = N_(
                "Everything that was on the air is held. Where a feed ended, its sound went on a little longer than "
                "its picture: {missing} in all, each time no more than a picture lasts."
            )
            return self.say(text, missing=length(best["gap_ms"]))
        told = {"held": length(best["held_ms"]), "whole": length(on_air["ms"]), "missing": length(best["gap_ms"])}
        text = self.say(N_("Of {whole} on the air {held} are held. {missing} are missing, as listed below."), **told)
        return " ".join([text, *self.told_apart(best["gaps"])])

    def held_of_file(self) -> str:
        best = self.statement["best"]
        if not best["gap_ms"]:
            return self.say(N_("Everything that was made of the file is held."))
        told = {"held": length(best["held_ms"]), "missing": length(best["gap_ms"])}
        if self.is_whole():
            text = N_(
                "Everything that was made of the file is held. Its sound goes on a little longer than its picture: "
                "{missing}, no more than a picture lasts."
            )
            return self.say(text, **told)
        text = N_("Of {whole} {held} are held. {missing} are missing, as listed below.")
        whole = length(self.statement["on_air"]["ms"])
        return " ".join([self.say(text, whole=whole, **told), *self.told_apart(best["gaps"])])

    def told_apart(self, gaps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """What of it nobody notices."""
        noticed, brief = apart(gaps, _length_ms)
        told: dict[str, object] = {"count": len(brief), "time": length(sum(map(_length_ms, brief)))}
        told |= {"others": len(noticed), "rest": length(sum(map(_length_ms, noticed)))}
        if brief and not noticed:
            yield self.say(N_("Each of these gaps is shorter than a tenth of a second: nobody notices them."))
        elif brief:
            text = N_(
                "Gaps that people notice: {others}, {rest} in all. Gaps shorter than a tenth of a second, which nobody "
                "notices: {count}, {time} in all."
            )
            yield self.say(text, **told)

    def is_unnoticed(self) -> bool:
        noticed, brief = apart(self.statement["best"]["gaps"], _length_ms)
        return bool(self.statement["on_air"]["is_over"] and brief and not noticed and not self.is_whole())

    def is_whole(self) -> bool:
        """No picture is missing: sound ends up to a picture's length after the last one."""
        gaps = self.statement["best"]["gaps"]
        return all(one["cause"] == SOUND_ONLY and one["to_ms"] - one["from_ms"] <= PICTURE_MS for one in gaps)

    def percent(self) -> str:
        """Rounded down: only what is whole is 100 %."""
        whole = max(1, self.statement["on_air"]["ms"])
        share = self.statement["best"]["held_ms"] * 100_000 // whole if self.statement["on_air"]["ms"] else 100_000
        return f"{share // 1000}.{share % 1000:03} %"

    def moment(self, at: str) -> str:
        when = datetime.fromisoformat(at)
        return f"{dates.moment(when, self.language)} · {clock(at)}"

    def bar(self) -> Bar:
        on_air, gaps = self.statement["on_air"], self.statement["best"]["gaps"]
        whole = max(1, on_air["ms"])
        shares = tuple((gap["from_ms"] / whole, gap["to_ms"] / whole) for gap in gaps)
        text = self.say(N_("Filled: held. Empty: missing. Gaps: {count}."), count=len(gaps))
        return Bar(shares, clock(on_air["from"]), clock(on_air["to"]), text)

    def missing(
        self, title: str, gaps: Sequence[Mapping[str, Any]], causes: Mapping[str, str] = CAUSES
    ) -> Iterator[Table]:
        """What people notice; and, where there is such, what nobody does."""
        noticed, brief = apart(gaps, _length_ms)
        if noticed or not brief:
            yield self.gaps(title, noticed, causes)
        if brief:
            yield self.gaps(self.say(N_("{what}: shorter than a tenth of a second"), what=title), brief, causes)

    def gaps(self, title: str, gaps: Sequence[Mapping[str, Any]], causes: Mapping[str, str] = CAUSES) -> Table:
        rows = [
            (
                clock(gap["from"]), clock(gap["to"]), length(_length_ms(gap)),
                self.known(causes, gap["cause"]),
            )
            for gap in gaps
        ]  # fmt: skip
        head = (self.say(N_("Begins")), self.say(N_("Ends")), self.say(N_("Length")), self.say(N_("Why")))
        return Table(title, head, tuple(rows), self.say(N_("Nothing is missing.")))

    def cause(self, cause: str) -> str:
        return self.known(CAUSES, cause)

    def known(self, words: Mapping[str, str], word: str) -> str:
        """As it is where there are no words for it."""
        if word == MISSING and self.destroyed_at():
            return self.say(N_("destroyed by order"))
        return self.say(words[word]) if word in words else word

    def renditions(self) -> Table:
        rows = [
            (one["name"], self.known(KINDS, one["kind"]), length(one["held_ms"]), length(one["gap_ms"]))
            for one in self.statement["renditions"]
        ]
        head = (self.say(N_("Rendition")), self.say(N_("Kind")), self.say(N_("Held")), self.say(N_("Missing")))
        return Table(self.say(N_("Each rendition")), head, tuple(rows), self.say(N_("There is none.")))

    def interruptions(self) -> Sequence[Mapping[str, str]]:
        """Without the end: a feed that goes stands in the ledger as lost, also where nothing is missing after it."""
        events: list[Mapping[str, str]] = self.statement["events"]
        on_air = self.statement["on_air"]
        best = self.statement["best"]["gaps"]
        is_cut_off = any(gap["to_ms"] == on_air["ms"] and gap["cause"] != SOUND_ONLY for gap in best)
        is_end = on_air["is_over"] and events and events[-1]["what"] == "lost" and not is_cut_off
        is_end = is_end and not self.waited()["ms"]
        return events[:-1] if is_end else events

    def _happened(self, what: str, cause: str) -> Iterator[str]:
        yield self.say(EVENTS[what])
        if cause and (what, cause) != ("lost", "feed lost"):  # that would be the same twice
            yield self.cause(cause)

    def events(self) -> Table:
        rows = [
            (clock(one["at"]), "; ".join(self._happened(one["what"], one["cause"]))) for one in self.interruptions()
        ]
        if waited := self.waited()["ms"]:
            never = self.say(N_("end: the encoder did not come back; waited {time}"), time=length(waited))
            rows.append((clock(self.waited()["to"]), never))
        head = (self.say(N_("Time")), self.say(N_("What happened")))
        return Table(self.say(N_("Interruptions")), head, tuple(rows), self.say(N_("There was none.")))

    def copies(self) -> Table:
        rows = [
            (
                self.place(one),
                self.known(STATES, one["state"]),
                self.moment(one["checked_at"]) if one["checked_at"] else "-",
            )
            for one in self.statement["copies"]
        ]
        head = (self.say(N_("Place")), self.say(N_("State")), self.say(N_("Last read whole")))
        none = self.say(N_("No copies are named in this statement."))
        return Table(self.say(N_("Copies")), head, tuple(rows), none)

    def place(self, copy: Mapping[str, Any]) -> str:
        if copy["location"] == LOCAL:
            return self.say(N_("On this machine"))
        return self.pick(copy.get("title", {"sw": "", "en": ""}), copy["location"])

    def proof(self) -> tuple[tuple[str, str], ...]:
        files, signatures = self.statement["files"], self.statement["signatures"]
        signature = self.sealed["signature"]
        return (
            (self.say(N_("Files")), f"{files['number']:,} ({files['bytes']:,} B)"),
            (self.say(N_("Head of the ledger (SHA-256)")), self.statement["ledger"]["head"]),
            (self.say(N_("Lines of the ledger")), f"{self.statement['ledger']['lines']:,}"),
            (self.say(N_("Signatures, time stamps")), f"{signatures['number']:,}, {signatures['time_stamps']:,}"),
            (self.say(N_("This statement (SHA-256)")), self.sealed["sha256"]),
            (self.say(N_("Public key (Ed25519)")), signature["key"]),
            (self.say(N_("Signature")), signature["signature"]),
        )  # fmt: skip

    def notes(self) -> tuple[str, ...]:
        return (
            self.say(
                N_("Held is what at least one rendition of the picture has; of the sound, where none has a picture.")
            ),
            self.say(N_("Times are East Africa Time, on the 24-hour clock. Held and missing add up exactly.")),
            self.say(N_("The statement as signed data (JSON) is attached to this document.")),
        )


def _length_ms(gap: Mapping[str, Any]) -> int:
    return int(gap["to_ms"] - gap["from_ms"])


def spans(gaps: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    return [(gap["from_ms"], gap["to_ms"]) for gap in gaps]


def clock(at: str) -> str:
    """ "10:05:00.250", of Tanzania."""
    return f"{datetime.fromisoformat(at).astimezone(dates.EAST_AFRICA_TIME):%H:%M:%S.%f}"[:-3]


def length(milliseconds: int) -> str:
    """ "1:02:03.250": hours, minutes, seconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
