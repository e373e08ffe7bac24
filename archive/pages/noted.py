"""What was noted of a recording in English, in rows and in its signed custody log, told in the reader's language.

A line that is signed stays as it is, and one noted years ago is read too: so each sentence is looked up in the tables
it was written from, which say what it is in both languages, and its values are put in there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from string import Formatter
from typing import Any, TypeVar

from archive.recordings import checks, copies
from archive.recordings.locations import reasons
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.errors import StoreError
from archive.recordings.policy_errors import PolicyError
from archive.recordings.verify import OF_ONE, TEXTS, Finding
from archive.words import N_, translate
from core.web.dates import day, seconds
from core.web.i18n import Language

E = TypeVar("E", bound=Exception)
THIS_MACHINE = N_("this machine")
_VALUES = {"time": r"[-+:. 0-9]+"}
"""Values that look like one thing only; others may be any text."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """`begins` is what any such text begins with, `pattern` the whole of it with its values as groups."""

    begins: str
    pattern: re.Pattern[str]
    said: Mapping[Language, str]


def teller(language: Language, places: Mapping[str, str]) -> Callable[[str], str]:
    """`places`: what people call the locations."""
    return partial(tell, language=language, places=places)


def tell(text: str, language: Language, places: Mapping[str, str]) -> str:
    """As it was noted where no table knows it: a person's own words, names, what an older version said."""
    found = _read(text)
    return " ".join(_filled(one.said[language], values, language, places) for one, values in found) if found else text


def say(finding: Finding, language: Language, places: Mapping[str, str]) -> str:
    """Of a finding that was kept as one."""
    return _filled(finding.words(language), finding.values, language, places)


def _filled(words: str, values: Mapping[str, Any], language: Language, places: Mapping[str, str]) -> str:
    told = dict(values)
    for name in told.keys() & {"location", "other"}:
        told[name] = ", ".join(_place(one, language, places) for one in str(told[name]).split(", "))
    for name in told.keys() & {"time", "at", "retired_at"}:
        told[name] = _moment(str(told[name]), language)
    if "reason" in told:
        said = tell(str(told["reason"]), language, places)
        reason = reasons.tell(said, language) if said == told["reason"] else said
        place = f"{told.get('location')}: "
        is_named = reason.lower().startswith(place.lower())
        told["reason"] = reason[len(place) :] if is_named else reason
    said = words.format(**told)
    if words.startswith("{") and not said.startswith(translate(THIS_MACHINE, language)):
        return said  # a name is as it is
    return said[:1].upper() + said[1:]


def _place(name: str, language: Language, places: Mapping[str, str]) -> str:
    return translate(THIS_MACHINE, language) if name == LOCAL else places.get(name, name)


def _moment(text: str, language: Language) -> str:
    """To the second, on the dial: it is proof. `text` itself where it is no moment."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if when.tzinfo is None else f"{day(when, language)}, {seconds(when)}"


Found = tuple[Sentence, Mapping[str, str]]


def _read(text: str) -> list[Found]:
    """A fault, or a fault and what keeps us from mending it; none: it is not known."""
    for end in re.finditer(r"\. ", text):
        first, then = _find(text[: end.start() + 1]), _find(text[end.end() :])
        if first is not None and then is not None:
            return [first, then]
    whole = _find(text)
    return [] if whole is None else [whole]


def _find(text: str) -> Found | None:
    for one in _sentences():
        if text.startswith(one.begins) and (found := one.pattern.fullmatch(text)):
            return one, found.groupdict()
    return None


@cache
def _sentences() -> tuple[Sentence, ...]:
    return tuple(_all())


def _all() -> Iterator[Sentence]:
    for swahili, english in (*OF_ONE.values(), *TEXTS.values()):
        yield _sentence(english, english, swahili)
    for error in _kinds(StoreError):
        noted = f"location {{location}}: {error.en} / {error.sw}: {{reason}}"
        yield _sentence(noted, *(f"{{location}}: {words}: {{reason}}" for words in (error.en, error.sw)))
    for message in (*copies.NOTED, checks.NOT_LOOKED_AT, checks.HEAD_WRONG):
        yield _sentence(message, message, translate(message, Language.SW))
    for message in filter(None, (refusal.message for refusal in _kinds(PolicyError))):
        for behind in (" / .+", ""):  # rows have the Swahili behind it, the custody log has not
            yield _sentence(message, message, translate(message, Language.SW), behind)


def _sentence(noted: str, english: str, swahili: str, behind: str = "") -> Sentence:
    """`noted` is how it was written, with what may stand `behind` it as a pattern."""
    pieces = list(Formatter().parse(noted))
    pattern = "".join(re.escape(literal) + (_group(name) if name else "") for literal, name, *_ in pieces)
    said = {Language.EN: english, Language.SW: swahili}
    return Sentence(pieces[0][0], re.compile(pattern + behind, re.DOTALL), said)


def _group(name: str) -> str:
    return f"(?P<{name}>{_VALUES.get(name, '.+')})"


def _kinds(root: type[E]) -> Iterator[type[E]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)
