#!/usr/bin/env python3
"""Checks a recording of Mbashara, or one file of it, against the recording's ledger. Needs Python 3.9 and nothing else.

    python3 verify.py RECORDING-FOLDER [--keys keys.json] [--lang sw|en] [--json]     a BagIt package's folder, too
    python3 verify.py ledger.jsonl --no-media            the ledger alone
    python3 verify.py RECORDING-FOLDER FILE ...          is this file of the recording, and which moment?

What it relies on, so that anyone can write it anew:

* `ledger.jsonl` has a JSON object a line. `prev` is the SHA-256 (hex) of the line before, without its newline; 64 zeros
  in the first. The HEAD of a ledger is the SHA-256 of its last line: it stands for every line before it. No line is
  longer than a MiB; of `custody.jsonl`, than 16.
* A line with `"fact":"file"` names a file of the recording, its size and its SHA-256. The last such line of a name
  counts, unless it is not signed and an earlier one is; one with `recovered` was hashed when a killed process came
  back, not when the file was written; one with `read_back` just after it was written, from the disk, not before.
* A file with `from_ms` and `to_ms` lies there on the broadcast's timeline, which begins at `origin_ms` of Unix time.
  Its `gaps` are the stretches of that in which it holds nothing; without them it is media from end to end.
* A line with `"fact":"gap"` names a time without media; without `rendition`, of all of them. One with `"waited":true`
  tells of an encoder that was lost and never came back: `waited_for` says from when on nothing was on the air any more,
  so that it can't be missing. Without that word it is missing: a feed came that could not be shown or was turned away,
  the program stood still, or it is of the time when programs did not tell. A `lost` with `"fact":"back"` behind it was
  a feed that had sent ahead of the clock: nothing is missing. A line with `"fact":"refused"` tells that an
  encoder was turned away which came with a key of the channel, in use or revoked, and why. Of encoders with other keys
  nothing is told: anyone may send some. `spare_lost` and `spare_back` tell of a second feed that was not on the air.
* `custody.jsonl`, chained in the same way, has what was done with the recording afterwards.
* `signatures.jsonl`, chained in the same way, has Ed25519 signatures (RFC 8032) of the institution over `signed_text`:
  the heads of both files as they were, with their sizes in bytes. Each signs the `prev` of its own line too, so the
  last one stands for all before it.
"""

from __future__ import annotations

import argparse
import base64
import bisect
import hashlib
import io
import json
import os
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

LEDGER_NAME, CUSTODY_NAME, SIGNATURES_NAME = "ledger.jsonl", "custody.jsonl", "signatures.jsonl"
PAPERS = (LEDGER_NAME, CUSTODY_NAME, SIGNATURES_NAME)
"""In the order in which they are put: signatures that say more than the ledger beside them would condemn it."""
NEWEST_NAME = "papers.new"
"""What they have grown by since, at a place where copies are kept; of no use once the broadcast is over."""
GENESIS = "0" * 64
MAX_LEDGER_BYTES = 1 << 30
MAX_LINE_BYTES, MAX_CUSTODY_LINE_BYTES = 1 << 20, 16 << 20
"""Far more than a line of ours has: one of custody tells of a broadcast's whole log (200 bytes for each time that its
encoder was lost or came back), or of each file that was removed. What is read of one may take 27 times its room, until
the next is read."""
READ_BYTES = 1 << 20

TEXTS: dict[str, tuple[str, str]] = {
    "no_ledger": ("Leja {name} haipo.", "The ledger {name} is not there."),
    "unreadable": (
        "Leja {name} haisomeki kuanzia mstari wa {line}.",
        "The ledger {name} can't be read from line {line} on.",
    ),
    "line_changed": (
        "Leja {name}: mstari wa {line} umebadilishwa, umefutwa au umeingizwa (mnyororo umekatika mstari wa {next}).",
        "The ledger {name}: line {line} was changed, taken out or put in (the chain breaks at line {next}).",
    ),
    "torn": (
        "Leja {name}: mstari wa mwisho haujakamilika; hauhesabiwi.",
        "The ledger {name}: its last line is not whole; it does not count.",
    ),
    "other_recording": (
        "Sahihi ni ya rekodi nyingine ({other}), si ya hii ({recording}).",
        "A signature is of another recording ({other}), not of this one ({recording}).",
    ),
    "other_ledger": (
        "Leja hii ni ya rekodi {other}, si ya {recording}.",
        "This ledger is of recording {other}, not of {recording}.",
    ),
    "unsigned": (
        "Hakuna sahihi ya taasisi: hakuna kinachoweza kuthibitishwa.",
        "There is no signature of the institution: nothing can be proven.",
    ),
    "unsigned_tail": (
        "Leja {name}: baiti {bytes} za mwisho hazina sahihi.",
        "The ledger {name}: its last {bytes} bytes are not signed.",
    ),
    "signature_bad": (
        "Sahihi ya {at} si sahihi: si ya ufunguo {key}, au kilichosainiwa kimebadilishwa.",
        "The signature of {at} is not right: it is not of key {key}, or what it signed was changed.",
    ),
    "signed_other": (
        "Leja {name} si ile iliyosainiwa {at}: sehemu yake ya kwanza (baiti {bytes}) imebadilishwa.",
        "The ledger {name} is not the one that was signed at {at}: its first {bytes} bytes were changed.",
    ),
    "cut_short": (
        "Leja {name} imekatwa: baiti {bytes} zilisainiwa {at}, zipo {found} tu.",
        "The ledger {name} was cut short: {bytes} bytes were signed at {at}, only {found} are there.",
    ),
    "key_unknown": (
        "Ufunguo {key} haumo katika orodha ya funguo zilizochapishwa za taasisi.",
        "The key {key} is not in the published list of the institution's keys.",
    ),
    "key_retired": (
        "Sahihi ya {at} ni ya ufunguo {key}, ulioacha kutumika {retired_at}.",
        "The signature of {at} is of key {key}, which was retired at {retired_at}.",
    ),
    "stamp_strange": (
        "Muhuri wa wakati katika mstari wa {line} si wa sahihi yoyote iliyoutangulia.",
        "The time stamp in line {line} is of no signature before it.",
    ),
    "custody_apart": (
        "Kumbukumbu ya utunzaji (custody.jsonl) haiko hapa: yaliyofanyiwa rekodi baada ya hapo hayakukaguliwa.",
        "The custody log (custody.jsonl) is not here: what was done with the recording afterwards was not checked.",
    ),
    "no_end": (
        "Leja haina mwisho wa tangazo: bado linarekodiwa, au sehemu ya mwisho imeondolewa.",
        "The ledger has no end of the broadcast: it is still being recorded, or its last part was taken away.",
    ),
    "after_end": (
        "Leja inaendelea baada ya mwisho wake: mstari wa {line} uliongezwa baadaye.",
        "The ledger goes on behind its end: line {line} was added afterwards.",
    ),
    "retold": (
        "Faili {file} limeandikwa upya katika leja (mstari wa {line}) tofauti na ilivyokuwa imethibitishwa.",
        "The file {file} is told anew in the ledger (line {line}), other than what was on record before.",
    ),
    "number_lacking": (
        "{rendition}: vipande {msn} hadi {last} havimo katika leja (kabla ya {time}).",
        "{rendition}: segments {msn} to {last} are not in the ledger (before {time}).",
    ),
    "missing": ("Faili {file} halipo ({time}).", "The file {file} is missing ({time})."),
    "changed": ("Faili {file} limebadilishwa ({time}).", "The file {file} was changed ({time})."),
    "shortened": (
        "Faili {file} limekatwa: baiti {found} badala ya {size} ({time}).",
        "The file {file} was cut short: {found} bytes instead of {size} ({time}).",
    ),
    "lengthened": (
        "Faili {file} limeongezwa baiti {added} mwishoni ({time}).",
        "{added} bytes were added to the end of the file {file} ({time}).",
    ),
    "swapped": (
        "Faili {file} lina yaliyomo ya faili {other}: yamebadilishana au kunakiliwa ({time}).",
        "The file {file} has what is in {other}: they were swapped, or one copied over the other ({time}).",
    ),
    "unlisted": (
        "Faili {file} haliko katika leja: limeongezwa na mwingine.",
        "The file {file} is not in the ledger: someone else added it.",
    ),
    "not_read": (
        "Faili {file} halisomeki pale lilipo: {reason} ({time}).",
        "The file {file} can't be read where it lies: {reason} ({time}).",
    ),
    "no_answer": (
        "Faili {file} halikusomwa, hifadhi haikujibu: {reason} ({time}).",
        "The file {file} was not read, the store gave no answer: {reason} ({time}).",
    ),
    "behind": (
        "{name}: nakala iko nyuma, ina baiti {found} kati ya {size}.",
        "{name}: the copy is behind, it has {found} of {size} bytes.",
    ),
    "paper_other": (
        "{name} si sawa na ile halisi iliyopo {location}.",
        "{name} is not the authentic one that {location} has.",
    ),
    "database_wrong": (
        "Hifadhidata ina makosa: inasema leja ya baiti {told} ni {told_head}, faili halisi zinasema {head}.",
        "The database is wrong: it says of {told} bytes of the ledger {told_head}, the authentic files say {head}.",
    ),
    "database_more": (
        "{name}: hifadhidata inajua zaidi ya faili hizi: baiti {told}, zipo {found} tu.",
        "{name}: the database knows more than the files: {told} bytes, only {found} are there.",
    ),
    "database_other": (
        "{name}: hifadhidata inajua baiti {told} tofauti na zilizopo hapa.",
        "{name}: the database knows {told} other bytes than the files have.",
    ),
    "none_authentic": (
        "Hakuna mahali penye leja na sahihi halisi: hakuna kinachobadilishwa, mtu aamue.",
        "Nowhere are ledger and signatures authentic: nothing is changed, a person decides.",
    ),
    "diverged": (
        "{location} na {other} zina leja zilizosainiwa zinazopingana: hakuna kinachobadilishwa, mtu aamue.",
        "{location} and {other} have signed ledgers that contradict each other: nothing is changed, a person decides.",
    ),
    "no_good_copy": (
        "Faili {file}: hakuna nakala inayolingana na leja, popote: hakuna kinachobadilishwa, mtu aamue.",
        "The file {file}: no copy anywhere is what the ledger says: nothing is changed, a person decides.",
    ),
    "copies_against": (
        "Faili {file}: nakala {count} zinalingana zenyewe lakini si na leja: hakuna kinachobadilishwa, mtu aamue.",
        "File {file}: {count} copies agree with each other, not with the ledger: nothing is changed, a person decides.",
    ),
    "named": (
        "Faili {file} limetajwa katika leja: haliondolewi kamwe.",
        "The file {file} is named in a ledger: it is never removed.",
    ),
    "other_now": (
        "Faili {file} si lile lililoonyeshwa mtu: limeachwa.",
        "The file {file} is not the one that a person was shown: it is left.",
    ),
    "bytes_of": (
        "Faili {file} lina yaliyomo ya {other}, ambalo halipo kwingine: limeachwa.",
        "The file {file} holds the bytes of {other}, which nobody else has: it is left.",
    ),
    "legal_hold": (
        "Faili {file}: zuio la kisheria limewekwa: hakuna kinachoondolewa.",
        "The file {file}: a legal hold stands: nothing is removed.",
    ),
    "other_held": (
        "Rekodi imesimamishwa kwa sababu ya faili {file}: hakuna kinachobadilishwa.",
        "The recording is held because of the file {file}: nothing is changed.",
    ),
    "source_away": (
        "Nakala nzuri haipatikani sasa, {location} haijibu: itajaribiwa tena.",
        "No good copy can be reached now, {location} does not answer: it is tried again later.",
    ),
    "away": ("Mahali {location} hapafikiki: {reason}", "The location {location} can't be reached: {reason}"),
    "dropped": (
        "Mahali {location} hapamo tena katika locations.toml: hakuna kingine kinachofanyika hapo.",
        "The location {location} is not in locations.toml any more: nothing more is done there.",
    ),
    "set_aside": (
        "{file}: itahifadhiwa hapo hapo kama ushahidi, {kept}.",
        "{file}: it is kept there as evidence, {kept}.",
    ),
    "location_lost": (
        "Mahali {location} pamepotea: mafaili {count} kati ya {files} yana hitilafu kwa pamoja; yanakiliwe upya.",
        "The location {location} is lost: {count} of {files} files are faulty at once; it must be copied anew.",
    ),
    "refused": ("{location} haikubali: {reason}", "{location} does not take it: {reason}"),
    "no_room": (
        "Hakuna nafasi ya muda ya baiti {size} katika mashine hii.",
        "There is no room here for {size} bytes meanwhile.",
    ),
    "on_air": ("Inarekodiwa sasa: {name} haibadilishwi.", "It is being recorded now: {name} is not changed."),
    "future": (
        "Saa: {name} ina tarehe ya baadaye, {at}.",
        "The clock: {name} has a date in the future, {at}.",
    ),
    "remains": (
        "Faili {file} bado lipo, ingawa rekodi iliteketezwa kwa amri ({time}).",
        "The file {file} is still there, although the recording was destroyed by order ({time}).",
    ),
    "not_of_it": (
        "Faili {file} si la rekodi hii: limebadilishwa, limekatwa au ni la rekodi nyingine.",
        "The file {file} is not of this recording: it was changed, cut, or is of another.",
    ),
    "not_in_ledger": (
        "Faili {file} halimo katika leja. Nakala iliyotolewa (export) huandikwa katika custody.jsonl pekee, ambayo "
        "haiko hapa: uliza kwenye ukurasa wa taasisi wa “Je, nilichonacho ni halisi?”.",
        "The file {file} is not in the ledger. An export stands in custody.jsonl alone, which is not here: ask on the "
        "institution's page “Is what I have genuine?”.",
    ),
}
OF_ONE: dict[str, tuple[str, str]] = {
    "number_lacking": (
        "{rendition}: kipande {msn} hakimo katika leja (kabla ya {time}).",
        "{rendition}: segment {msn} is not in the ledger (before {time}).",
    ),
    "lengthened": (
        "Faili {file} limeongezwa baiti {added} mwishoni ({time}).",
        "{added} byte was added to the end of the file {file} ({time}).",
    ),
}
"""Of TEXTS, those that are other words where there is one."""
NO_END, UNSIGNED_TAIL = "no_end", "unsigned_tail"
NOTES = frozenset({"torn", UNSIGNED_TAIL, NO_END})
"""While a broadcast is on the air these are as they should be; otherwise they are faults."""

APART = "custody_apart"
"""Of a ledger that was downloaded: the custody log names people, so the site does not hand it out. No fault."""

FEED_LOST, REFUSED = "feed lost", "refused"
"""Why there is no feed: it ended; it ended, and an encoder that came meanwhile was turned away."""
NO_MEDIA = "no media"
"""The cause of a stretch that a rendition lacks since nothing came that it could have had."""
NO_PICTURE, NO_SOUND = "no picture", "no sound"
"""A feed that went on left it out: the first where it has a picture at all."""
NO_SOUND_IN_FILE = "no sound in the file"
LEFT_OUT = frozenset({NO_PICTURE, NO_SOUND, NO_SOUND_IN_FILE})
"""Causes of gaps that lie in or between segments of one rendition."""
PICTURE_MS = 40
"""How long a picture lasts at 25 a second: so much longer the sound may go on."""

MADE_LATER = frozenset(PAPERS)
PENDING_SUFFIXES = (".partial", ".new")

MOST = 10**13
"""More than any number of ours; Unix times in milliseconds up to here are dates."""
NUMBERS = {"msn": 0, "size": 0, "origin_ms": 0, "ledger_bytes": 0, "custody_bytes": 0, "from_ms": -MOST, "to_ms": -MOST}
"""What the checks reckon with, and the least that each may be: whole numbers, or the line can't be read."""
MOST_NAME = 255
"""Bytes of each part of a file's name: no disk takes more."""
TIMES = ("time", "at", "retired_at")
"""Values of findings that are moments."""
NEEDED = ("ledger_bytes", "ledger_head", "custody_bytes", "custody_head")

Line = dict[str, Any]

PLAIN = (str, int, float, bool, type(None))
KEPT: dict[str, tuple[str, ...]] = {
    "file": ("fact", "name", "rendition", "msn", "from_ms", "to_ms", "size", "sha256", "recovered", "read_back"),
    "absent": ("fact", "name", "rendition", "msn", "from_ms", "to_ms", "cause", "recovered"),
    "gap": ("prev", "fact", "at", "name", "rendition", "from_ms", "to_ms", "cause", "is_back", "waited"),
    "rendition": ("fact", "name", "rendition", "kind"),
    "lost": ("fact", "at_ms"),
    "resumed": ("fact",),
    "ended": ("fact", "duration_ms"),
}
"""By its fact, what the checks read of a ledger's line."""
KEPT_FIRST = ("recording", "origin_ms")
KEPT_SIGNED = ("at", "recording", "key", "signature", *NEEDED, "prev", "of", "timestamp")


class Finding(NamedTuple):
    """Something that is not as the ledger says. `kind` is a key of TEXTS, `values` what its text names."""

    kind: str
    values: dict[str, Any]

    def text(self, language: str = "en") -> str:
        """As it is noted, with its times as they came."""
        return self.words(language).format(**self.values)

    def told(self, language: str) -> str:
        """To people."""
        times = {name: here(str(self.values[name])) for name in TIMES if name in self.values}
        return self.words(language).format(**{**self.values, **times})

    def words(self, language: str) -> str:
        """Its text, not filled yet."""
        is_one = self.values.get("added") == 1 or self.values.get("msn", "") == self.values.get("last")
        of_one = OF_ONE.get(self.kind) if is_one else None
        return (of_one or TEXTS[self.kind])[language == "en"]


class Hashes(Sequence[str]):
    """SHA-256 in hex, each in the room of its bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes) // 32

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[number] for number in range(len(self))[at]]
        begin = 32 * range(len(self))[at]
        return self._bytes[begin : begin + 32].hex()

    def append(self, digest: str) -> None:
        self._bytes += bytes.fromhex(digest)


class Chain(NamedTuple):
    """A chained file that was read: its lines, the byte at which each ends and the hash of each."""

    name: str
    lines: list[Line]
    ends: list[int] | array[int]
    hashes: list[str] | Hashes
    findings: list[Finding]

    @property
    def head(self) -> str:
        return self.hashes[-1] if self.hashes else GENESIS

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    def head_at(self, size: int) -> str | None:
        """The head when the file was `size` bytes; None where no line ends there."""
        if size == 0:
            return GENESIS
        low, high = 0, len(self.ends)
        while low < high:
            middle = (low + high) // 2
            if self.ends[middle] < size:
                low = middle + 1
            else:
                high = middle
        return self.hashes[low] if low < len(self.ends) and self.ends[low] == size else None


class Wait(NamedTuple):
    """For an encoder that did not come back, in milliseconds of the broadcast's timeline. `lost_ms` is where the feed
    was told as lost, `picture_ms` where its picture ended (of a broadcast of sound: the sound). Until `from_ms`
    something still came, be it sound alone."""

    lost_ms: int
    picture_ms: int
    from_ms: int
    to_ms: int


class Report(NamedTuple):
    """What a check found. `signed_at` and `key` are the last good signature's; `recovered` files were hashed late, and
    `read_back` ones a moment late. `disposed`: the custody log's line of the order by which the media were destroyed,
    and `left` the places that it did not reach and where nobody removed them since. `waited`: see `waited_for`; no
    time of it is among `gaps`. `made_from`: see there."""

    recording: str
    findings: list[Finding]
    files: int
    size_bytes: int
    media_checked: bool
    recovered: int
    gaps: list[Line]
    signatures: int
    timestamps: int
    signed_at: str | None
    key: str | None
    key_published: bool | None
    on_air: bool
    head: str
    disposed: Line | None = None
    waited: Wait | None = None
    left: tuple[str, ...] = ()
    read_back: int = 0
    made_from: Line | None = None

    @property
    def is_whole(self) -> bool:
        faults = [one for one in self.findings if one.kind != APART]
        return not faults or (self.on_air and all(one.kind in NOTES for one in faults))


def read_chain(path: Path, kept: Callable[[Line, int], Line] = lambda line, number: line) -> Chain:
    """Reads a chained file. Stops at the first line that does not follow the one before it: the findings say which.
    `kept`: what is kept of a line, which is read whole first."""
    chain = Chain(path.name, [], array("Q"), Hashes(), [])
    if not path.is_file():
        chain.findings.append(Finding("no_ledger", {"name": path.name}))
        return chain
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_LEDGER_BYTES:
            chain.findings.append(Finding("unreadable", {"name": path.name, "line": 1}))
            return chain
        return _read(chain, file, size, kept)


def read_lines(chain: Chain, data: bytes, kept: Callable[[Line, int], Line] = lambda line, number: line) -> Chain:
    """Adds the lines of `data`, which begin a chained file, to an empty chain."""
    return _read(chain, io.BytesIO(data), len(data), kept)


def _read(chain: Chain, file: BinaryIO, size: int, kept: Callable[[Line, int], Line]) -> Chain:
    """The first `size` bytes alone: a file that is on the air grows meanwhile."""
    previous, end, number = GENESIS, 0, 0
    most = MAX_CUSTODY_LINE_BYTES if chain.name == CUSTODY_NAME else MAX_LINE_BYTES
    while raw := file.readline(min(most, size - end)):
        end += len(raw)
        number += 1
        if not raw.endswith(b"\n") and end == size:  # what follows the last newline
            chain.findings.append(Finding("torn", {"name": chain.name}))
            break
        try:
            if not raw.endswith(b"\n"):
                raise ValueError("a line without an end")
            raw = raw[:-1]
            line = json.loads(raw)
            told = line["prev"]
            _check_line(chain.name, line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            chain.findings.append(Finding("unreadable", {"name": chain.name, "line": number}))
            break
        if told != previous:
            where = {"name": chain.name, "line": max(1, number - 1), "next": number}
            chain.findings.append(Finding("line_changed", where))
            break
        previous = hashlib.sha256(raw).hexdigest()
        chain.lines.append(kept(line, number))
        chain.ends.append(end)
        chain.hashes.append(previous)
        del line  # before the next is read
    return chain


def _of_ledger(line: Line, number: int) -> Line:
    """What the checks need of it; what is no fact of ours takes no room at all."""
    fact = line.get("fact")
    names = KEPT.get(fact, ()) if type(fact) is str else ()
    if number == 1:
        names = (*KEPT_FIRST, *names)
    if not names:
        return _NOTHING
    found = _some(line, names)
    if isinstance(found.get("rendition"), str):
        found["rendition"] = sys.intern(found["rendition"])
    if number == 1 and (made := made_from(line)):
        found["made_from"] = made
    if line.get("gaps"):  # until when there were media is all that is asked
        held = held_in(line)
        found["gaps"] = ((held[-1][1] if held else line["from_ms"], line["to_ms"]),)
    return found


def _of_custody() -> Callable[[Line, int], Line]:
    """The first order by which media were destroyed, and of others where they were carried out."""
    orders = list[Line]()

    def kept(line: Line, number: int) -> Line:
        if not _is_deletion(line):
            return _NOTHING
        if "location" in line or orders:
            return _some(line, ("fact", "outcome", "location"))
        orders.append(line)
        return line

    return kept


def _of_signatures(line: Line, number: int) -> Line:
    return _some(line, KEPT_SIGNED)


def _of_search(line: Line, number: int) -> Line:
    """What `find_hash` needs."""
    if number == 1 or line.get("fact") in ("file", "export"):
        return _some(line, ("fact", "name", "sha256", "from_ms", "to_ms", "origin_ms"))
    return _NOTHING


_NOTHING: Line = {}


def _some(line: Line, names: Iterable[str]) -> Line:
    """These values of a line, as far as they are simple: others are no program's of ours."""
    return {name: line[name] if type(line[name]) in PLAIN else "?" for name in names if name in line}


def _check_line(name: str, line: Line) -> None:
    """Raises ValueError, KeyError or TypeError where a program of ours would not have written it."""
    for key, least in NUMBERS.items():
        value = line.get(key)
        if value is not None and (type(value) is not int or not least <= value <= MOST):
            raise ValueError(key)
    if line.get("fact") == "file" and name == LEDGER_NAME:
        if type(line["size"]) is not int or type(line["name"]) is not str or type(line["sha256"]) is not str:
            raise TypeError("file")
        if any(len(part) > MOST_NAME for part in line["name"].encode().split(b"/")):
            raise ValueError("name")
    if name == LEDGER_NAME and line.get("gaps") is not None:
        _check_gaps(line)
    if "signature" in line and name == SIGNATURES_NAME and any(line[key] is None for key in NEEDED):
        raise TypeError("signature")


def _check_gaps(line: Line) -> None:
    ends = [line["from_ms"], *(at for since, until in line["gaps"] for at in (since, until)), line["to_ms"]]
    if any(type(at) is not int for at in ends) or ends != sorted(ends):
        raise ValueError("gaps")


def held_in(line: Line) -> list[tuple[int, int]]:
    """The stretches of a segment's line in which there was media: all of it but its `gaps`."""
    found, begin = list[tuple[int, int]](), line["from_ms"]
    for since, until in [*(line.get("gaps") or ()), (line["to_ms"], line["to_ms"])]:
        if since > begin:
            found.append((begin, since))
        begin = max(begin, until)
    return found


def signed_text(recording: str, line: Line) -> bytes:
    """What a line of signatures.jsonl signs."""
    names = ("at", "ledger_bytes", "ledger_head", "custody_bytes", "custody_head", "prev")
    return "\n".join(["mbashara-signature-1", recording, *(str(line[name]) for name in names), ""]).encode()


def key_id(public_key: bytes) -> str:
    """How people name a key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def listed_files(ledger: Chain, signed_bytes: int = 0) -> dict[str, Line]:
    """By its path in the folder, the fact that counts for each file. Of lines behind the first `signed_bytes`, those of
    new names alone: what is not signed takes nothing back."""
    found: dict[str, Line] = {}
    signed = set[str]()
    for line, end in zip(ledger.lines, ledger.ends):  # noqa: B905 as long as each other; Python 3.9 has no strict
        if line.get("fact") == "file" and (end <= signed_bytes or line["name"] not in signed):
            found[line["name"]] = line
            if end <= signed_bytes:
                signed.add(line["name"])
    return found


def verify(
    folder: Path, keys: Collection[bytes] | None = None, with_media: bool = True, every_signature: bool = False,
    on_air: bool = False, on_progress: Callable[[int], None] = lambda size_bytes: None,
) -> Report:  # fmt: skip
    """Checks a recording's folder. `keys` are the public keys (32 bytes each) that the institution published, as
    `read_keys` gives them or a set; without them a signature proves that nothing was changed since, but not who signed.
    `on_air`: its end is not there yet."""
    signatures = read_chain(folder / SIGNATURES_NAME, _of_signatures)  # first: on the air, what they sign only grows
    ledger, custody = read_chain(folder / LEDGER_NAME, _of_ledger), read_chain(folder / CUSTODY_NAME, _of_custody())
    findings = list[Finding]()
    asked = folder.resolve().name
    told, last = check_papers(asked, ledger, custody, signatures, keys, every_signature)
    is_apart = not with_media and not (folder / CUSTODY_NAME).exists()
    findings += [one for one in told if not (is_apart and one.values.get("name") == CUSTODY_NAME)]
    if is_apart and any(line.get("custody_bytes") for line in signatures.lines):
        findings.append(Finding("custody_apart", {}))
    files = listed_files(ledger, int(last["ledger_bytes"]) if last else 0)
    if with_media:
        disposed = last is not None and is_disposed(custody, int(last["custody_bytes"]))
        findings += check_files(folder, files, origin_ms_of(ledger), on_air, on_progress, disposed)
    signed = [line for line in signatures.lines if "signature" in line]
    return Report(
        recording=_recording_of(ledger, asked),
        findings=findings,
        files=len(files),
        size_bytes=sum(int(line["size"]) for line in files.values()),
        media_checked=with_media,
        recovered=sum(bool(line.get("recovered")) for line in files.values()),
        gaps=list(gaps_of(ledger.lines)),
        signatures=len(signed),
        timestamps=sum(is_good for _, is_good in stamps(signatures)),
        signed_at=last["at"] if last else None,
        key=key_id(base64.b64decode(last["key"])) if last else None,
        key_published=None if keys is None or last is None else base64.b64decode(last["key"]) in keys,
        on_air=on_air,
        head=ledger.head,
        disposed=disposal_of(custody),
        waited=waited_for(ledger.lines),
        left=left_of(custody),
        read_back=sum(bool(line.get("read_back")) for line in files.values()),
        made_from=ledger.lines[0].get("made_from") if ledger.lines else None,
    )


def check_papers(
    asked: str, ledger: Chain, custody: Chain, signatures: Chain, keys: Collection[bytes] | None,
    every_signature: bool = False,
) -> tuple[list[Finding], Line | None]:  # fmt: skip
    """What is wrong with the papers themselves of the recording `asked`, and the newest signature, if it is good."""
    findings = [*ledger.findings]
    for optional in (custody, signatures):
        findings += [one for one in optional.findings if one.kind != "no_ledger"]
    recording = _recording_of(ledger, asked)
    if len(asked) == len(recording) == 26 and asked != recording:
        findings.append(Finding("other_ledger", {"other": recording, "recording": asked}))
    if ledger.lines and not any(line.get("fact") == "ended" for line in ledger.lines):
        findings.append(Finding(NO_END, {}))
    findings += [*_numbers(ledger), *_added(ledger, signatures)]
    findings += [Finding("stamp_strange", {"line": number}) for number, is_good in stamps(signatures) if not is_good]
    return findings, _check_signatures(recording, ledger, custody, signatures, findings, keys, every_signature)


def _recording_of(ledger: Chain, asked: str) -> str:
    """The ledger's own word for which recording it is of."""
    named = ledger.lines[0].get("recording") if ledger.lines else None
    return str(named or asked)


def made_from(first: Line) -> Line | None:
    """The file that a recording was made from, as the first line of its ledger has it: `name`, `size`, `sha256`, and
    `at`, when that was. None: it was on the air, and its times are our own clock's."""
    told = first.get("import")
    if not isinstance(told, dict):
        return None
    original = told.get("original")
    return {
        **_some(original if isinstance(original, dict) else {}, ("name", "size", "sha256")),
        **_some(first, ("at",)),
    }


def origin_ms_of(ledger: Chain) -> int:
    return int(ledger.lines[0].get("origin_ms") or 0) if ledger.lines else 0


def is_disposed(custody: Chain, signed_bytes: int = MOST) -> bool:
    """Whether all media were destroyed by order, and not one location's: then they are not missing."""
    return disposal_of(custody, signed_bytes) is not None


def disposal_of(custody: Chain, signed_bytes: int = MOST) -> Line | None:
    """The line of the order by which the media were destroyed, if it is signed."""
    for line, end in zip(custody.lines, custody.ends):  # noqa: B905
        if _is_deletion(line) and "location" not in line and end <= signed_bytes:
            return line
    return None


def _is_deletion(line: Line) -> bool:
    return line.get("fact") == "deletion" and line.get("outcome") == "success"


def left_of(custody: Chain) -> tuple[str, ...]:
    """The places that the order which destroyed the media did not reach, but for those where they are removed now."""
    order = disposal_of(custody)
    if order is None or not isinstance(order.get("left"), list):
        return ()
    cleared = {line.get("location") for line in custody.lines if _is_deletion(line)}
    left = [str(one.get("location")) for one in order["left"] if isinstance(one, dict)]
    return tuple(place for place in left if place not in cleared)


def waited_for(lines: Iterable[Line]) -> Wait | None:
    """How long an encoder was waited for that never came back, until the broadcast was ended. Nothing was on the air
    then. None where anything says otherwise, or nothing says so: where the program itself was away in that time, where
    a feed was there, where there was no end. The wait begins behind everything that came, kept or not, and behind every
    other gap."""
    lost_ms: int | None = None
    gap: tuple[int, int] | None = None
    kinds, ends = dict[str, str](), dict[str, int]()
    came_ms, told_ms, ended_ms = 0, 0, MOST
    for line in lines:
        fact, from_ms, to_ms = line.get("fact"), _whole(line.get("from_ms")), _whole(line.get("to_ms"), 0)
        name = str(line.get("rendition") or line.get("name"))
        if fact == "lost":
            lost_ms, gap = _whole(line.get("at_ms")), None
        elif fact == "gap" and "rendition" not in line:
            is_wait = line.get("waited") is True and line.get("is_back") is False and line.get("cause") == FEED_LOST
            is_wait = is_wait and from_ms is not None and from_ms == lost_ms
            gap = (from_ms, to_ms) if is_wait else None
            lost_ms, came_ms, told_ms = None, max(came_ms, told_ms), to_ms
        elif fact == "resumed":
            lost_ms, gap, ended_ms = None, None, MOST
        elif fact == "ended":
            ended_ms = _whole(line.get("duration_ms"), MOST)
        elif fact == "rendition":
            kinds[name] = str(line.get("kind"))
        elif from_ms is None:
            continue
        elif fact in ("file", "gap") or (fact == "absent" and line.get("cause") != NO_MEDIA):
            held = held_in({**line, "from_ms": from_ms, "to_ms": to_ms})
            came_ms = max([came_ms, *(until for _, until in held)])
            ends[name] = max([ends.get(name, 0), *(until for _, until in held if fact == "file")])
    if gap is None or max(came_ms, gap[0]) >= gap[1] or ended_ms > gap[1] + PICTURE_MS:
        return None
    pictures = [end for name, end in ends.items() if kinds.get(name) == "video"]
    picture_ms = max(gap[0], max(pictures) if pictures else came_ms)
    return Wait(gap[0], picture_ms, max(came_ms, gap[0]), max(ended_ms, gap[1]))


def _whole(value: object, otherwise: Any = None) -> Any:
    return value if type(value) is int else otherwise


def gaps_of(lines: Sequence[Line]) -> Iterator[Line]:
    """The `gap` facts, without what of the last one was a wait: where sound went on without a picture, that is left."""
    wait = waited_for(lines)
    for line in lines:
        if line.get("fact") == "gap":
            if wait is None or "rendition" in line or line.get("from_ms") != wait.lost_ms:
                yield line
            elif wait.from_ms - wait.picture_ms > PICTURE_MS:
                yield {**line, "to_ms": wait.from_ms}


def _numbers(ledger: Chain) -> Iterator[Finding]:
    """Segments that the ledger itself leaves out: numbers of a rendition follow each other. One finding for a hole,
    however wide."""
    told: dict[str, dict[int, Line]] = {}
    written: dict[str, list[int]] = {}
    for line in ledger.lines:
        if line.get("fact") in ("file", "absent") and line.get("msn") is not None:
            rendition = str(line.get("rendition"))
            told.setdefault(rendition, {}).setdefault(line["msn"], line)
            if not line.get("recovered"):
                written.setdefault(rendition, []).append(line["msn"])
    for rendition, numbers in written.items():
        before, last = numbers[0], max(numbers)
        for number in sorted(number for number in told[rendition] if before < number <= last):
            if number > before + 1:
                when = wall_clock(origin_ms_of(ledger) + int(told[rendition][number].get("from_ms") or 0))
                hole = {"rendition": rendition, "msn": before + 1, "last": number - 1, "time": when}
                yield Finding("number_lacking", hole)
            before = number


def _added(ledger: Chain, signatures: Chain) -> Iterator[Finding]:
    """Lines that no program of ours writes: behind the end, or of a file that was told of already. A killed process may
    tell anew of what nobody had signed yet, and playlists grow until then."""
    reaches = sorted(line["ledger_bytes"] for line in signatures.lines if "signature" in line)
    newest: dict[str, tuple[str, int]] = {}
    retold, ended, begin = set[str](), False, 0
    for number, (line, end) in enumerate(zip(ledger.lines, ledger.ends), 1):  # noqa: B905
        if ended:
            yield Finding("after_end", {"line": number})
        ended = line.get("fact") == "ended"
        if line.get("fact") == "file":
            name, digest = line["name"], line["sha256"]
            before, until = newest.get(name, (digest, 0))
            signed = bisect.bisect_left(reaches, until)
            was_signed = signed < len(reaches) and reaches[signed] <= begin
            may_be = bool(line.get("recovered")) or name.endswith(".m3u8")
            if digest != before and name not in retold and (was_signed or not may_be):
                retold.add(name)
                yield Finding("retold", {"file": name, "line": number})
            newest[name] = (digest, end)
        begin = end


def _check_signatures(
    recording: str, ledger: Chain, custody: Chain, signatures: Chain, findings: list[Finding],
    keys: Collection[bytes] | None, every: bool,
) -> Line | None:  # fmt: skip
    """The newest signature, if it is good. Adds what is wrong to `findings`."""
    signed = [line for line in signatures.lines if "signature" in line]
    if not signed:
        findings.append(Finding("unsigned", {}))
        return None
    last = signed[-1]
    for line in signed if every else [last]:
        fault = _check_signature(recording, line, keys)
        if fault is not None:
            findings.append(fault)
            return None
    for chain, name in ((ledger, "ledger"), (custody, "custody")):
        findings += _check_heads(chain, name, signed)
    return last


def _check_signature(recording: str, line: Line, keys: Collection[bytes] | None) -> Finding | None:
    if line.get("recording") != recording:
        return Finding("other_recording", {"other": line.get("recording"), "recording": recording})
    try:
        key, signature = base64.b64decode(line["key"]), base64.b64decode(line["signature"])
        is_good = check_ed25519(key, signed_text(recording, line), signature)
    except (ValueError, KeyError, TypeError):
        key, is_good = b"", False
    if not is_good:
        return Finding("signature_bad", {"at": line.get("at"), "key": key_id(key)})
    if keys is not None and key not in keys:
        return Finding("key_unknown", {"key": key_id(key)})
    retired_at = keys.get(key) if isinstance(keys, Mapping) else None
    if retired_at is not None and not _is_before(line.get("at"), retired_at):
        return Finding("key_retired", {"at": line.get("at"), "key": key_id(key), "retired_at": retired_at})
    return None


def _is_before(at: object, until: str) -> bool:
    from datetime import datetime, timezone

    try:
        moments = [datetime.fromisoformat(str(one)) for one in (at, until)]
    except ValueError:
        return False
    utc = timezone.utc  # noqa: UP017 Python 3.9
    first, last = (one if one.tzinfo else one.replace(tzinfo=utc) for one in moments)
    return first <= last


def stamps(signatures: Chain) -> Iterator[tuple[int, bool]]:
    """The number of each line with a time stamp, and whether it names a signature of a line before. Whether the stamp
    is of that signature, and by whom, takes more than this script has."""
    signed = set[str]()
    for number, line in enumerate(signatures.lines, 1):
        if "timestamp" in line:
            of, stamp = line.get("of"), line["timestamp"]
            try:
                base64.b64decode(stamp, validate=True)
                yield number, isinstance(of, str) and of in signed
            except (ValueError, TypeError):
                yield number, False
        if "signature" in line:
            signed.add(str(line["signature"]))


def _check_heads(chain: Chain, name: str, signed: Sequence[Line]) -> Iterator[Finding]:
    """What was signed at each time must still begin the file. A file whose chain is broken has been told already."""
    if any(one.kind in ("line_changed", "unreadable") for one in chain.findings):
        return
    for line in signed:
        size, head = int(line[f"{name}_bytes"]), line[f"{name}_head"]
        told = {"name": chain.name, "at": line.get("at"), "bytes": size}
        if size > chain.size:
            yield Finding("cut_short", {**told, "found": chain.size})
            return
        if chain.head_at(size) != head:
            yield Finding("signed_other", told)
            return
    tail = chain.size - int(signed[-1][f"{name}_bytes"])
    if tail:
        yield Finding(UNSIGNED_TAIL, {"name": chain.name, "bytes": tail})


# Files.


def check_files(
    folder: Path, files: dict[str, Line], origin_ms: int, on_air: bool,
    on_progress: Callable[[int], None] = lambda size_bytes: None, disposed: bool = False,
) -> Iterator[Finding]:  # fmt: skip
    """Reads every file that the ledger lists, and looks for others."""
    by_hash = {str(line["sha256"]): name for name, line in files.items()}
    for name, line in files.items():
        finding = _check_file(folder, name, line, by_hash, wall_clock(origin_ms + int(line.get("from_ms") or 0)))
        if disposed:
            finding = None if finding is not None and finding.kind == "missing" else _remains(name, line, origin_ms)
        if finding is not None:
            yield finding
        on_progress(int(line["size"]))
    for name in sorted(_others(folder, files)):
        if not on_air or not may_be_listed_soon(name) or (folder / name).is_symlink():
            yield Finding("unlisted", {"file": name})


def _remains(name: str, line: Line, origin_ms: int) -> Finding:
    return Finding("remains", {"file": name, "time": wall_clock(origin_ms + int(line.get("from_ms") or 0))})


def may_be_listed_soon(name: str) -> bool:
    """Of a broadcast on the air: what is written now and not in the ledger yet."""
    return name.endswith((*PENDING_SUFFIXES, ".m3u8", ".m4s", ".mp4"))


def _check_file(folder: Path, name: str, line: Line, by_hash: dict[str, str], time: str) -> Finding | None:
    path, parts = folder / name, Path(name).parts
    linked = any(folder.joinpath(*parts[: number + 1]).is_symlink() for number in range(len(parts)))
    if ".." in parts or Path(name).is_absolute() or linked or not path.is_file():
        return Finding("missing", {"file": name, "time": time})
    found, digest = path.stat().st_size, hash_file(path)
    return fault_of(name, line, time, found, digest, by_hash, lambda size: hash_file(path, size))


def fault_of(
    name: str, line: Line, time: str, found: int, digest: str, by_hash: Mapping[str, str],
    begins: Callable[[int], str],
) -> Finding | None:  # fmt: skip
    """How a file of `found` bytes that hashes to `digest` is not what its `line` says; None where it is. `by_hash`: the
    name of the listed file with that hash; `begins`: the hash of the file's first bytes."""
    size, told = int(line["size"]), {"file": name, "time": time, "sha256": digest}
    if digest == line["sha256"]:
        return None
    if digest in by_hash:
        return Finding("swapped", {**told, "other": by_hash[digest]})
    if found < size:
        return Finding("shortened", {**told, "found": found, "size": size})
    if found > size and begins(size) == line["sha256"]:
        return Finding("lengthened", {**told, "added": found - size})
    return Finding("changed", told)


def _others(folder: Path, files: dict[str, Line]) -> Iterator[str]:
    """What is no folder and not listed; and every link, which is not followed."""
    for place, folders, names in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *names)):
            name = path.relative_to(folder).as_posix()
            is_known = path.is_dir() or name in files or name in MADE_LATER or name == NEWEST_NAME
            if path.is_symlink() or not is_known:
                yield name


def hash_file(path: Path, size: int | None = None) -> str:
    """The SHA-256, in hex, of a file or of its first `size` bytes."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left is None or left > 0:
            data = file.read(READ_BYTES if left is None else min(READ_BYTES, left))
            if not data:
                break
            digest.update(data)
            left = None if left is None else left - len(data)
    return digest.hexdigest()


class Found(NamedTuple):
    """Which file of the recording someone's file is; times on the wall clock, None where it has none."""

    file: str
    name: str
    since: str | None
    until: str | None


def find_file(ledger: Chain, custody: Chain, path: Path) -> Found | None:
    """The file of the recording, or an export made of it, that has the very bytes of `path`."""
    digest = hash_file(path)
    return find_hash(ledger, custody, digest, path.name)


def find_hash(ledger: Chain, custody: Chain, digest: str, file: str) -> Found | None:
    origin_ms = origin_ms_of(ledger)
    for line in [*ledger.lines, *custody.lines]:
        if line.get("sha256") == digest and line.get("fact") in ("file", "export"):
            times = (line.get("from_ms"), line.get("to_ms"))
            since, until = (None if at is None else wall_clock(origin_ms + int(at)) for at in times)
            return Found(file, str(line["name"]), since, until)
    return None


def wall_clock(unix_ms: int) -> str:
    """In East Africa Time, which has no summer time."""
    from datetime import datetime, timedelta, timezone

    at = datetime.fromtimestamp(unix_ms / 1000, timezone(timedelta(hours=3)))
    return at.isoformat(sep=" ", timespec="milliseconds")


def here(moment: str) -> str:
    """A moment with its offset, as people in East Africa read it, with the name of their time behind it. Any other text
    as it is."""
    from datetime import datetime, timedelta, timezone

    try:
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            return moment
        local = at.astimezone(timezone(timedelta(hours=3))).replace(tzinfo=None)
    except (ValueError, OverflowError):  # the first and the last hours of the calendar
        return moment
    return f"{local.isoformat(sep=' ', timespec='milliseconds')} EAT"


# Ed25519 (RFC 8032, 5.1): points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def _add(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(factor: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def _point(encoded: bytes) -> Point:
    """Raises ValueError where the 32 bytes are no point of the curve."""
    y, sign = int.from_bytes(encoded, "little") & (1 << 255) - 1, encoded[31] >> 7
    if y >= P:
        raise ValueError("not a point")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        raise ValueError("not a point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def check_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        key, r = _point(public_key), _point(signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % Q
    left, right = _times(s, BASE), _add(r, _times(h, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# The command.


def read_keys(path: Path) -> dict[bytes, str | None]:
    """The public keys of a list as the site publishes it at /keys.json, and when each was retired; None: in use."""
    found = json.loads(path.read_text())["keys"]
    return {base64.b64decode(one["public_key"]): one.get("retired_at") for one in found}


def printable(text: str) -> str:
    """What a stranger may have written moves no cursor and begins no line of its own."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def summary(report: Report, language: str, are_stamps_checked: bool = False) -> Iterator[str]:
    """The report in plain words. `are_stamps_checked`: by someone who says so beside it."""
    return map(printable, _summary(report, language, are_stamps_checked))


def _summary(report: Report, language: str, are_stamps_checked: bool) -> Iterator[str]:
    for finding in report.findings:
        is_note = finding.kind == APART or (report.on_air and finding.kind in NOTES)
        yield ("- " if is_note else "! ") + finding.told(language)
    english = language == "en"
    who = f"{report.key} ({here(report.signed_at or '')})" if report.key else "-"
    if english:
        yield (
            f"Recording {report.recording}: {_count(report.files, 'file')}, {_count(report.size_bytes, 'byte')}, "
            f"{_count(len(report.gaps), 'gap')}."
        )
        stamped = _count(report.timestamps, "time stamp")
        yield f"Signed by key {who}; {_count(report.signatures, 'signature')}, {stamped}."
        if _has_times(report):
            yield "EAT is East Africa Time, three hours ahead of UTC."
        if report.timestamps and not are_stamps_checked:
            yield "The authorities' own signatures in time stamps are not checked here: openssl ts -verify does it."
        if report.key and report.key_published is None:
            yield "Compare the key's name with the institution's published list, or give it by --keys."
        if made := _made_from(report):
            told = "Made from the file {name} (SHA-256 {sha256}) on {at}; its times are as they were said then."
            yield told.format(**made)
        if report.waited is not None:
            yield (
                f"The encoder did not come back: it was waited for {_seconds(report.waited)} s until the end, "
                "and nothing was on the air then."
            )
        if report.recovered:
            was, they = _were(report.recovered)
            yield f"{was} hashed when a killed process came back, not when {they} written."
        if report.read_back:
            was, they = _were(report.read_back)
            yield f"{was} hashed from the disk just after {they} written, not before."
        if report.disposed is not None:
            yield from _destroyed(report, english)
        elif report.is_whole and report.media_checked:
            was = "the recording was made" if report.made_from else "it was on the air"
            yield f"WHOLE AND UNALTERED: every file is as it was when {was}."
        elif report.is_whole:
            yield "THE LEDGER IS WHOLE. The files themselves were not read."
        else:
            yield "NOT AS IT WAS."
        return
    files, gaps = _idadi(report.files, "faili", "mafaili"), _idadi(len(report.gaps), "pengo", "mapengo")
    yield f"Rekodi {report.recording}: {files}, baiti {report.size_bytes}, {gaps}."
    stamped = _idadi(report.timestamps, "muhuri wa wakati", "mihuri ya wakati")
    yield f"Imesainiwa kwa ufunguo {who}; sahihi {report.signatures}, {stamped}."
    if _has_times(report):
        yield "EAT ni saa za Afrika Mashariki, saa tatu mbele ya UTC."
    if report.timestamps and not are_stamps_checked:
        yield "Sahihi za mamlaka katika mihuri ya wakati hazikaguliwi hapa: tumia openssl ts -verify."
    if report.key and report.key_published is None:
        yield "Linganisha jina la ufunguo na orodha iliyochapishwa na taasisi, au itoe kwa --keys."
    if made := _made_from(report):
        told = "Imetengenezwa kutokana na faili {name} (SHA-256 {sha256}) {at}; "
        yield told.format(**made) + "nyakati zake ni kama zilivyoelezwa wakati huo."
    if report.waited is not None:
        yield (
            f"Kisimbaji (encoder) hakikurudi: kilisubiriwa sekunde {_seconds(report.waited)} hadi mwisho, "
            "na hakuna kilichokuwa hewani wakati huo."
        )
    if report.recovered == 1:
        yield "Faili 1 lilipigwa muhuri programu iliporudi baada ya kukatika, si lilipoandikwa."
    elif report.recovered:
        yield f"Mafaili {report.recovered} yalipigwa muhuri programu iliporudi baada ya kukatika, si yalipoandikwa."
    if report.read_back:
        files = "Faili 1 lilipigwa" if report.read_back == 1 else f"Mafaili {report.read_back} yalipigwa"
        yield f"{files} muhuri kutoka diski mara tu baada ya kuandikwa, si kabla."
    if report.disposed is not None:
        yield from _destroyed(report, english)
    elif report.is_whole and report.media_checked:
        was = "rekodi ilipotengenezwa" if report.made_from else "hewani"
        yield f"KAMILI, HAIJABADILISHWA: kila faili liko kama lilivyokuwa {was}."
    elif report.is_whole:
        yield "LEJA NI KAMILI. Mafaili yenyewe hayakusomwa."
    else:
        yield "SI KAMA ILIVYOKUWA."


def _made_from(report: Report) -> Line | None:
    """For people."""
    made = report.made_from
    if made is None:
        return None
    at = here(str(made.get("at") or "-"))
    return {"name": made.get("name") or "-", "sha256": made.get("sha256") or "-", "at": at}


def _has_times(report: Report) -> bool:
    told = any(name in one.values for one in report.findings for name in TIMES)
    return told or report.key is not None or report.disposed is not None


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _were(files: int) -> tuple[str, str]:
    return ("1 file was", "it was") if files == 1 else (f"{files} files were", "they were")


def _idadi(count: int, one: str, many: str) -> str:
    return f"{one if count == 1 else many} {count}"


def _seconds(wait: Wait) -> str:
    return f"{(wait.to_ms - wait.from_ms) / 1000:.3f}"


def _destroyed(report: Report, english: bool) -> Iterator[str]:
    """That the media are gone, when, and by whose order, as the custody log has it."""
    told = report.disposed or {}
    values = {name: told.get(name) or "-" for name in ("at", "detail", "asked", "approved")}
    values["at"] = here(str(values["at"]))
    if english:
        yield "DESTROYED BY ORDER on {at}: asked for by {asked}, approved by {approved}: {detail}".format(**values)
        yield (
            "Its papers are whole: they prove what it was, not what it showed."
            if report.is_whole
            else "NOT AS IT MUST BE: see above."
        )
        if report.left:
            yield f"NOT REACHED: {', '.join(report.left)}: places that were forgotten, where files may lie still."
        return
    yield "ILITEKETEZWA KWA AMRI {at}: iliombwa na {asked}, iliidhinishwa na {approved}: {detail}".format(**values)
    yield (
        "Nyaraka zake ni kamili: zinathibitisha ilikuwa nini, si ilionyesha nini."
        if report.is_whole
        else "SI KAMA INAVYOPASWA: tazama hapo juu."
    )
    if report.left:
        yield f"HAIKUFIKIWA: {', '.join(report.left)}: mahali palipoachwa, ambapo faili huenda bado zipo."


def as_json(report: Report) -> dict[str, Any]:
    found = [{"kind": one.kind, **one.values, "text": one.text()} for one in report.findings]
    waited = report.waited._asdict() if report.waited else None
    return {**report._asdict(), "findings": found, "waited": waited, "is_whole": report.is_whole}


def json_text(told: Mapping[str, Any]) -> str:
    """Names of files that are no text are escaped, as JSON does it."""
    return json.dumps(told, ensure_ascii=False).encode(errors="backslashreplace").decode()


def look_for(folder: Path, files: Iterable[str], language: str) -> int:
    ledger, custody = (read_chain(folder / name, _of_search) for name in (LEDGER_NAME, CUSTODY_NAME))
    strange = "not_of_it" if (folder / CUSTODY_NAME).exists() else "not_in_ledger"
    failed = 0
    for name in files:
        found = find_file(ledger, custody, Path(name))
        if found is None:
            failed = 1
            print(printable("! " + Finding(strange, {"file": name}).text(language)))
        else:
            span = f"  {here(found.since)} - {here(found.until)}" if found.since and found.until else ""
            print(printable(f"{name} = {found.name}{span}"))
    return failed


def folder_of(given: Path) -> Path | None:
    """The recording's folder, of what someone names: itself, the BagIt package that it is in, or its ledger."""
    if given.is_dir():
        payload = given / "data"
        is_bag = (given / "bagit.txt").is_file() and (payload / LEDGER_NAME).is_file()
        return payload if is_bag else given
    return given.parent if given.is_file() and given.name == LEDGER_NAME else None


NO_RECORDING = (
    "{path} si rekodi: taja folda yake, au ledger.jsonl yake.",
    "{path} is no recording: name its folder, or its ledger.jsonl.",
)
NO_KEYS = ("{path} si orodha ya funguo (keys.json).", "{path} is no list of keys (keys.json).")


def misused(texts: tuple[str, str], path: Path, language: str) -> int:
    print(printable("! " + texts[language == "en"].format(path=path)), file=sys.stderr)
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recording", type=Path, help="the recording's folder, a BagIt package's, or its ledger.jsonl")
    parser.add_argument("files", nargs="*", help="files to look for in it")
    parser.add_argument("--keys", type=Path, help="the institution's published keys (keys.json)")
    parser.add_argument("--no-media", action="store_true", help="check the ledger alone")
    parser.add_argument("--all", action="store_true", help="check every signature, not the last alone")
    parser.add_argument("--lang", choices=("sw", "en"), default="sw")
    parser.add_argument("--on-air", action="store_true", help="it is being recorded just now")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_intermixed_args(arguments)
    folder = folder_of(given.recording)
    if folder is None:
        return misused(NO_RECORDING, given.recording, given.lang)
    try:
        keys = read_keys(given.keys) if given.keys else None
    except (OSError, ValueError, KeyError, TypeError):
        return misused(NO_KEYS, given.keys, given.lang)
    try:
        report = verify(folder, keys, not given.no_media, given.all, given.on_air)
        if given.json:
            print(json_text(as_json(report)))
        else:
            print("\n".join(summary(report, given.lang)))
        failed = look_for(folder, given.files, given.lang) if given.files else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"! {error}", file=sys.stderr)
        return 2
    return 1 if failed or not report.is_whole else 0


if __name__ == "__main__":
    raise SystemExit(main())
