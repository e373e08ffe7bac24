"""A recording as PREMIS 3 (Library of Congress): what it is of which files, what was done with it, by whom, and who may
do what. Written as it is read, so that a long recording takes no more memory than a short one.

Words are those of the vocabularies at id.loc.gov/vocabulary/preservation, with their addresses. Formats are named by
PRONOM's identifiers where there is one that fits; a segment of fragmented MP4 has none.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lxml import etree

from archive.recordings.about import About
from archive.recordings.ledger import read_facts
from archive.recordings.verify import CUSTODY_NAME, PICTURE_MS, SIGNATURES_NAME, Wait, hash_file, waited_for
from core.web.i18n import Language

PREMIS = "http://www.loc.gov/premis/v3"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
VOCABULARY = "http://id.loc.gov/vocabulary/preservation"
SOFTWARE = "Mbashara"
MADE_LATER = ("ledger.jsonl", CUSTODY_NAME, SIGNATURES_NAME)

EVENT_TYPES = {
    "capture": "cap", "creation": "cre", "deletion": "del", "dissemination": "dis",
    "digital signature generation": "dsg", "digital signature validation": "dig", "exporting": "exp",
    "fixity check": "fix", "format identification": "for", "information package creation": "ipc", "ingestion": "ing",
    "message digest calculation": "mes", "metadata modification": "mem", "migration": "mig", "packing": "pac",
    "policy assignment": "poa", "quarantine": "qua", "recovery": "rec", "redaction": "red", "replication": "rep",
    "transfer": "tra", "unpacking": "unp", "unquarantine": "unq", "validation": "val", "virus check": "vir",
}  # fmt: skip
OUR_WORDS = {
    "described": "metadata modification", "export": "exporting", "repair": "recovery", "embargo": "policy assignment",
    "embargo lifted": "policy assignment", "hold placed": "policy assignment", "hold lifted": "policy assignment",
    "foreign files removed": "deletion", "loss accepted": "metadata modification",
    "gaps corrected": "metadata modification",
}  # fmt: skip
"""What our custody says in words of its own, and what the vocabulary calls it."""


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    version: str = ""
    pronom: str = ""


FORMATS = {
    ".mp4": Format("MPEG-4 Media File", pronom="fmt/199"),
    ".m4s": Format("ISO base media file format, media segment (CMAF)"),
    ".m3u8": Format("HTTP Live Streaming playlist", "8"),
    ".jsonl": Format("JSON Lines, UTF-8"),
    ".jpg": Format("JPEG File Interchange Format"),
}
UNKNOWN = Format("unknown")

Fact = dict[str, Any]
Element = etree._Element


@dataclass(frozen=True, slots=True)
class Agent:
    name: str
    kind: str
    version: str = ""


AGENT_TYPES = {"software": "sof", "organization": "org", "person": "per"}


def write_premis(folder: Path, out: IO[bytes], about: About, version: str) -> None:
    """`version` is the program's. Raises OSError, and ValueError on a ledger that is none."""
    with etree.xmlfile(out, encoding="UTF-8") as file:
        file.write_declaration()
        names: dict[str | None, str] = {"premis": PREMIS, "xsi": XSI}
        with file.element(_q("premis"), {"version": "3.0"}, nsmap=names):
            for part in _parts(folder, about, version):
                file.write(part, pretty_print=True)


def _parts(folder: Path, about: About, version: str) -> Iterator[Element]:
    """Objects, events, agents, rights: the order that the schema wants."""
    yield _entity(about)
    for fact in read_facts(folder):
        if fact["fact"] == "rendition":
            yield _rendition(about, fact)
    for name, fact in _newest(folder).items():
        yield _file(about, name, int(fact["size"]), str(fact["sha256"]), fact.get("rendition"))
    for name in MADE_LATER:
        if (folder / name).is_file():
            yield _file(about, name, (folder / name).stat().st_size, hash_file(folder / name), None)
    agents = {SOFTWARE: Agent(SOFTWARE, "software", version)}
    owner = about.institution(Language.EN)
    agents[owner] = Agent(owner, "organization")
    for number, event in enumerate(_events(folder, about), 1):
        agent = _agent(str(event.get("agent") or SOFTWARE), owner)
        agents.setdefault(agent.name, agent)
        yield _event(about, number, event, agent)
    for agent in agents.values():
        yield _agent_element(agent)
    yield _rights(folder, about, owner)


def _newest(folder: Path) -> dict[str, Fact]:
    """The last fact of each file is the one that counts."""
    return {str(fact["name"]): fact for fact in read_facts(folder) if fact["fact"] == "file"}


# Elements.


def _q(name: str) -> str:
    return f"{{{PREMIS}}}{name}"


def _add(parent: Element, name: str, text: object = None) -> Element:
    made = etree.SubElement(parent, _q(name))
    if text is not None:
        made.text = _clean(str(text))
    return made


def _clean(text: str) -> str:
    """XML 1.0 has no way to write control characters."""
    return "".join(one if one in "\t\n\r" or (one >= " " and one not in "\ufffe\uffff") else "\ufffd" for one in text)


def _term(parent: Element, name: str, vocabulary: str, code: str | None, label: str) -> Element:
    """A word of a vocabulary; one of our own where `code` is None."""
    made = _add(parent, name, label)
    if code is not None:
        made.set("authority", vocabulary)
        made.set("authorityURI", f"{VOCABULARY}/{vocabulary}")
        made.set("valueURI", f"{VOCABULARY}/{vocabulary}/{code}")
    return made


def _identifier(parent: Element, what: str, value: str, kind: str = "local") -> None:
    """objectIdentifier, eventIdentifier, linkingAgentIdentifier and their like, which all look the same."""
    made = _add(parent, what)
    _add(made, f"{what}Type", kind)
    _add(made, f"{what}Value", value)


def _object(kind: str, value: str) -> Element:
    made = etree.Element(_q("object"), nsmap={"premis": PREMIS, "xsi": XSI})
    made.set(f"{{{XSI}}}type", f"premis:{kind}")
    _identifier(made, "objectIdentifier", value)
    return made


def _relationship(parent: Element, code: str, label: str, other: str) -> None:
    made = _add(parent, "relationship")
    _term(made, "relationshipType", "relationshipType", "str", "structural")
    _term(made, "relationshipSubType", "relationshipSubType", code, label)
    _identifier(made, "relatedObjectIdentifier", other)


def _property(parent: Element, name: str, value: object) -> None:
    made = _add(parent, "significantProperties")
    _add(made, "significantPropertiesType", name)
    _add(made, "significantPropertiesValue", value)


def _entity(about: About) -> Element:
    made = _object("intellectualEntity", about.recording_id)
    _property(made, "channel", about.channel)
    for name, value in (("title (sw)", about.title_sw), ("title (en)", about.title_en)):
        if value:
            _property(made, name, value)
    _add(made, "originalName", about.title(Language.SW))
    _identifier(made, "linkingRightsStatementIdentifier", _rights_id(about))
    return made


def _rendition(about: About, fact: Fact) -> Element:
    made = _object("representation", f"{about.recording_id}/{fact['name']}")
    for name in ("kind", "codecs", "width", "height", "bitrate_bps"):
        if fact.get(name) is not None:
            _property(made, name, fact[name])
    _add(made, "originalName", fact["name"])
    _relationship(made, "rep", "represents", about.recording_id)
    return made


def _file(about: About, name: str, size: int, sha256: str, rendition: object) -> Element:
    made = _object("file", f"{about.recording_id}/{name}")
    known = _add(made, "objectCharacteristics")
    _add(known, "compositionLevel", 0)
    fixity = _add(known, "fixity")
    _term(fixity, "messageDigestAlgorithm", "cryptographicHashFunctions", "sha256", "SHA-256")
    _add(fixity, "messageDigest", sha256)
    _add(fixity, "messageDigestOriginator", SOFTWARE)
    _add(known, "size", size)
    _format(known, FORMATS.get(PurePosixPath(name).suffix, UNKNOWN))
    _add(made, "originalName", name)
    whole = about.recording_id if rendition is None else f"{about.recording_id}/{rendition}"
    _relationship(made, "isp", "is Part Of", whole)
    return made


def _format(parent: Element, found: Format) -> None:
    made = _add(parent, "format")
    named = _add(made, "formatDesignation")
    _add(named, "formatName", found.name)
    if found.version:
        _add(named, "formatVersion", found.version)
    if found.pronom:
        registry = _add(made, "formatRegistry")
        _add(registry, "formatRegistryName", "PRONOM")
        _add(registry, "formatRegistryKey", found.pronom)
        _add(registry, "formatRegistryRole", "specification")


# Events.


def _events(folder: Path, about: About) -> Iterator[Fact]:
    """The recording's own life in its ledger, its signatures, and what was done with it since, in that order."""
    first: Fact = {}
    late = set[str]()
    wait = waited_for(read_facts(folder))
    for fact in read_facts(folder):
        match fact["fact"]:
            case "started":
                first = fact
            case "gap" if wait is not None and "rendition" not in fact and fact["from_ms"] == wait.lost_ms:
                yield from _wait(fact, wait)
            case "gap":
                detail = f"{fact.get('rendition', 'all renditions')}: {fact['from_ms']} ms - {fact['to_ms']} ms"
                told = {"outcome": "warning", "detail": detail, "note": f"no media: {fact.get('cause', '')}"}
                yield {"fact": "capture", "at": fact["at"], **told}
            case "resumed":
                yield {"fact": "recovery", "at": fact["at"], "detail": "the recorder was killed and went on"}
            case "ended":
                at, reason = first.get("at", fact["at"]), fact.get("reason", "")
                end = f"{fact['duration_ms']} ms from channel {about.channel}, until {fact['at']}; {reason}"
                yield {"fact": "capture", "at": at, "detail": end}
                each = "SHA-256 of every file as it was written"
                each += f"; {len(late)} of them as the disk gave them back" if late else ""
                yield {"fact": "message digest calculation", "at": fact["at"], "detail": each}
            case "file" if fact.get("read_back") or fact.get("recovered"):
                late.add(str(fact["name"]))
    for line in read_facts(folder, SIGNATURES_NAME):
        if "timestamp" in line:
            detail = f"time stamp (RFC 3161) of the signature {line.get('of')}"
            yield {"fact": "digital signature generation", "at": line["at"], "detail": detail}
        elif "signature" in line:
            detail = f"Ed25519, key {line.get('key')}, ledger {line.get('ledger_head')}"
            yield {"fact": "digital signature generation", "at": line["at"], "detail": detail}
    yield from read_facts(folder, CUSTODY_NAME)


def _wait(fact: Fact, wait: Wait) -> Iterator[Fact]:
    """An encoder that never came back: nothing is missing, but where sound went on without a picture."""
    told: Fact = {"fact": "capture", "at": fact["at"]}
    if wait.from_ms - wait.picture_ms > PICTURE_MS:
        detail = f"all renditions: {wait.lost_ms} ms - {wait.from_ms} ms"
        yield {**told, "outcome": "warning", "detail": detail, "note": f"no media: {fact.get('cause', '')}"}
    detail = f"{wait.from_ms} ms - {wait.to_ms} ms"
    yield {**told, "detail": detail, "note": "not on the air any more: the encoder did not come back"}


def _agent(name: str, owner: str) -> Agent:
    if name == owner:
        return Agent(name, "organization")
    is_program = name.lower().startswith(SOFTWARE.lower())
    return Agent(SOFTWARE if name == SOFTWARE.lower() else name, "software" if is_program else "person")


def _event(about: About, number: int, fact: Fact, agent: Agent) -> Element:
    made = etree.Element(_q("event"), nsmap={"premis": PREMIS, "xsi": XSI})
    _identifier(made, "eventIdentifier", f"{about.recording_id}#{number}")
    kind = str(fact["fact"])
    word = OUR_WORDS.get(kind, kind)
    _term(made, "eventType", "eventType", EVENT_TYPES.get(word), word)
    _add(made, "eventDateTime", fact["at"])
    detail = "; ".join([kind] * (word != kind) + _details(fact))
    if detail:
        _add(_add(made, "eventDetailInformation"), "eventDetail", detail)
    _outcome(made, OUTCOMES.get(str(fact.get("outcome", "success"))), str(fact.get("note") or ""))
    link = _add(made, "linkingAgentIdentifier")
    _add(link, "linkingAgentIdentifierType", "local")
    _add(link, "linkingAgentIdentifierValue", agent.name)
    role = ("exe", "executing program") if agent.kind == "software" else ("imp", "implementer")
    _term(link, "linkingAgentRole", "eventRelatedAgentRole", *role)
    _identifier(made, "linkingObjectIdentifier", about.recording_id)
    return made


def _details(fact: Fact) -> list[str]:
    """What a fact of custody says beside the words that have a place of their own."""
    told = {name: value for name, value in fact.items() if name not in _PLACED}
    return [str(value) if name == "detail" else f"{name}: {_text(value)}" for name, value in told.items()]


_PLACED = frozenset({"prev", "fact", "at", "outcome", "agent", "note"})


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


OUTCOMES = {"success": ("suc", "success"), "fail": ("fai", "failure"), "warning": ("war", "warning")}


def _outcome(parent: Element, outcome: tuple[str, str] | None, note: str) -> None:
    made = _add(parent, "eventOutcomeInformation")
    code, label = outcome or (None, "unknown")
    _term(made, "eventOutcome", "eventOutcome", code, label)
    if note:
        _add(_add(made, "eventOutcomeDetail"), "eventOutcomeDetailNote", note)


# Agents and rights.


def _agent_element(agent: Agent) -> Element:
    made = etree.Element(_q("agent"), nsmap={"premis": PREMIS, "xsi": XSI})
    _identifier(made, "agentIdentifier", agent.name)
    _add(made, "agentName", agent.name)
    _term(made, "agentType", "agentType", AGENT_TYPES[agent.kind], agent.kind)
    if agent.version:
        _add(made, "agentVersion", agent.version)
    return made


def _rights_id(about: About) -> str:
    return f"{about.recording_id}#rights"


def _rights(folder: Path, about: About, owner: str) -> Element:
    """The institution decides by its own policy; holds and embargoes that stand now are restrictions of it."""
    made = etree.Element(_q("rights"), nsmap={"premis": PREMIS, "xsi": XSI})
    statement = _add(made, "rightsStatement")
    _identifier(statement, "rightsStatementIdentifier", _rights_id(about))
    _term(statement, "rightsBasis", "rightsBasis", "ins", "institutional policy")
    other = _add(statement, "otherRightsInformation")
    _add(other, "otherRightsBasis", "institutional policy")
    _add(other, "otherRightsNote", f"Recorded by {owner}, who decides on its use.")
    standing = _standing(folder)
    for act, restriction in (("disseminate", standing.get("embargo")), ("delete", standing.get("hold"))):
        granted = _add(statement, "rightsGranted")
        _add(granted, "act", act)
        if restriction is not None:
            _add(granted, "restriction", restriction)
    _identifier(statement, "linkingObjectIdentifier", about.recording_id)
    _identifier(statement, "linkingAgentIdentifier", owner)
    return made


def _standing(folder: Path) -> dict[str, str]:
    """The embargo, and all holds, as the custody's last word on each has them."""
    found: dict[str, str] = {}
    holds: dict[object, str] = {}
    for fact in read_facts(folder, CUSTODY_NAME):
        match fact["fact"]:
            case "embargo":
                found["embargo"] = _since("embargo", fact)
            case "embargo lifted":
                found.pop("embargo", None)
            case "hold placed":
                holds[fact.get("hold")] = _since("hold", fact)
            case "hold lifted":
                holds.pop(fact.get("hold"), None)
    return found | ({"hold": "; ".join(holds.values())} if holds else {})


def _since(what: str, fact: Fact) -> str:
    return f"{what} since {fact['at']}: {fact.get('detail', '')}".rstrip(": ")
