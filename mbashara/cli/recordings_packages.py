"""Recordings go out and in again: `mbashara recording export ID --bag|--premis`, `import --bag`, `statement`."""

import json
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from archive.pages import noted
from archive.recordings import (
    about,
    bag,
    closures,
    copies,
    custody,
    describe,
    policy,
    policy_rebuild,
    rebuild,
    signing_keys,
    statement,
    verify,
)
from archive.recordings.about import About
from archive.recordings.bag_errors import BagError, Fault
from archive.recordings.bag_import import import_bag
from archive.recordings.locations.config import LOCAL, LocationError, read_locations
from archive.recordings.policy import Wish
from archive.recordings.premis import write_premis
from archive.recordings.rebuild import RebuildError
from archive.recordings.statement import Statement, copy_of
from archive.recordings.verify import CUSTODY_NAME
from core import audit
from core.channels import find_channel
from core.plain import N_
from core.tables import Channel, Institution, Recording
from core.web.i18n import Language
from mbashara import __version__
from mbashara.cli import terms
from mbashara.cli.common import Command, add_command, by, database, find_recording, institution_id, read_keys
from mbashara.cli.evidence import check_ledger
from mbashara.cli.imports import read_embargo
from mbashara.data import as_caller, stepped_down
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import languages, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

STDOUT = "-"
NAMES = ("slug", "name_sw", "name_en")


def add_parsers(recording: "_SubParsersAction[ArgumentParser]") -> None:
    """`export` (recordings.py) and `import` (imports.py) are there already: here they learn of packages."""
    export, take = recording.choices["export"], recording.choices["import"]
    export.add_argument("--bag", action="store_true", help="a BagIt package (RFC 8493): PATH.tar, else a folder")
    export.add_argument("--sha512", action="store_true", help="in a bag: SHA-512 beside SHA-256")
    export.add_argument(
        "--link", action="store_true", help="in a bag that is a folder: media as hard links, never to be written to"
    )
    export.add_argument("--premis", action="store_true", help="PREMIS 3, as XML")
    export.set_defaults(command=partial(recording_export, export.get_default("command")))

    take.add_argument("--bag", type=Path, metavar="PATH", help="a BagIt package: a folder or a tar")
    take.add_argument("--keys", type=Path, metavar="FILE", help="keys.json of the platform that it comes from")
    take.add_argument("--institution", metavar="SLUG", help="whose it becomes, with --channel (default: as it says)")
    take.set_defaults(command=partial(recording_import, take.get_default("command")))

    state = add_command(
        recording.add_parser("statement", help="state, signed, what of a recording is held"), recording_statement
    )
    state.add_argument("recording", metavar="ID")
    state.add_argument("-o", "--output", required=True, metavar="FILE", help="what to make; - is standard output")
    state.add_argument(
        "--lang",
        choices=list(Language),
        type=Language,
        default=languages()[0],
        help="default: that of commands, else sw",
    )
    kind = state.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="as data alone")
    kind.add_argument("--pdf", action="store_true", help="on paper, with the data attached (the default)")


def recording_export(as_media: Command, settings: Settings, arguments: Namespace) -> int:
    if not (arguments.bag or arguments.premis):
        return as_media(settings, arguments)
    if arguments.output is None:
        raise UserError(N_("say where to: -o PATH"))
    with database(settings) as session:
        known, institution_id = _known(session, arguments.recording)
        keys = json.dumps({"keys": signing_keys.told(session, institution_id)}, indent=1).encode() + b"\n"
    folder = settings.recordings / known.recording_id
    with _plain_words(arguments.output):
        if arguments.premis:
            with _output(arguments.output) as out:
                write_premis(folder, out, known, __version__)
        else:
            with as_caller():  # it reads the recording alone, and writes where it was told
                _export_bag(folder, known, keys, arguments)
    with database(settings) as session:
        after = {"as": "premis" if arguments.premis else "bag", "to": arguments.output}
        _note(session, "recording.export", known.recording_id, institution_id, after)
        if arguments.bag:
            told = {"agent": by().name, "format": "BagIt 1.0", "to": arguments.output}
            custody.append(session, known.recording_id, "information package creation", datetime.now(UTC), **told)
    return 0


def _export_bag(folder: Path, known: About, keys: bytes, arguments: Namespace) -> None:
    """Beside the recording: who may have signed it, how to check that without us, and what was done with it."""
    algorithms = ("sha256", "sha512") if arguments.sha512 else ("sha256",)
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as made:
        premis = Path(made) / "premis.xml"
        with premis.open("wb") as file:
            write_premis(folder, file, known, __version__)
        tags: dict[str, bag.Tag] = {
            "metadata/keys.json": keys,
            "metadata/premis.xml": premis,
            "metadata/verify.py": Path(verify.__file__),
        }
        if arguments.output == STDOUT or arguments.output.endswith(".tar"):
            with _output(arguments.output) as out:
                bag.write_tar(folder, out, known, tags, now, algorithms)
        else:
            bag.write_folder(folder, Path(arguments.output), known, tags, now, algorithms, arguments.link)


def recording_import(as_media: Command, settings: Settings, arguments: Namespace) -> int:
    if arguments.bag is None:
        return as_media(settings, arguments)
    with database(settings) as session:
        keys = _trusted(session, settings, arguments.keys)
        channel = _channel_here(session, arguments)
        here = channel.slug if channel is not None else None
    embargo = read_embargo(arguments)
    accept = partial(_accept, settings, here, embargo)
    with _plain_words(arguments.bag), stepped_down(settings):
        found = import_bag(arguments.bag, settings.recordings, keys, as_caller, accept)
    with database(settings) as session:
        folder = settings.recordings / found.recording_id
        is_new = session.get(Recording, found.recording_id) is None  # also where a command was killed before
        after = {"from": str(arguments.bag), "files": found.files, "bytes": found.size_bytes, "new": is_new}
        if embargo is not None and not is_new:
            command = f"mbashara recording embargo {found.recording_id}"
            raise UserError(N_("it is here already, and stays as it is; to close it: {command}"), command=command)
        owner = _take_into_catalogue(session, folder, keys, here) if is_new else None
        if embargo is not None:
            recording = session.get_one(Recording, found.recording_id)
            policy.grant(session, recording, embargo, by=by(), now=datetime.now(UTC))
        if is_new:
            policy_rebuild.keep_shut(session, found.recording_id, settings.public, by(), datetime.now(UTC))
        _note(session, "recording.import", found.recording_id, owner, after)
    with database(settings) as session:
        closures.show(session, settings.public, found.recording_id)
    said = say("it was taken in") if is_new else say("already here")
    files = say("files: {count}", count=found.files)
    print(f"{found.recording_id}  {said}  {files}  {terms.size(found.size_bytes)}")
    return 0


def _trusted(session: Session, settings: Settings, file: Path | None) -> dict[bytes, str | None]:
    """The keys that may have signed it, and when each was retired: of our own the database knows; of another
    platform's, no more than when it was last seen, so that its list counts where it is given."""
    given = read_keys(file) if file is not None else dict[bytes, str | None]()
    ours, known = signing_keys.public_halves(settings.signing_keys), dict[bytes, str | None]()
    for owner in {key.institution_id for key, _ in signing_keys.published(session)}:
        known |= signing_keys.public_keys(session, owner)
    return given | {key: until for key, until in known.items() if key in ours or key not in given}


def _channel_here(session: Session, arguments: Namespace) -> Channel | None:
    """Whose it becomes, where that was said. Raises UserError."""
    slug, owner = getattr(arguments, "channel", None), institution_id(session, arguments.institution)
    if slug is None:
        if owner is not None:
            raise UserError(N_("name the channel too: --channel SLUG"))
        return None
    channel = find_channel(session, slug)
    if channel is None or owner not in (None, channel.institution_id):
        if channel is None:
            raise UserError(N_("there is no channel {slug}"), slug=slug)
        raise UserError(N_("{institution} has no channel {slug}"), institution=arguments.institution, slug=slug)
    return channel


def _accept(settings: Settings, here: str | None, embargo: Wish | None, staged: Path) -> None:
    """What nobody here would own is not taken in; what comes with an embargo, or is to be under one, is closed to the
    public before its files are there. Raises BagError."""
    told = rebuild.described_as(staged)
    if told is None:
        raise BagError(Fault.NO_RECORDING, CUSTODY_NAME)
    if here is None:
        channel, institution = str(told["channel"]["slug"]), str(told["institution"]["slug"])
        with database(settings) as session:
            found = find_channel(session, channel)
            if found is None or session.get_one(Institution, found.institution_id).slug != institution:
                raise BagError(Fault.OWNER, f"{institution}/{channel}")
    if embargo is not None:
        closures.shut(settings.public, staged.name, embargo.until)
        return
    try:
        policy_rebuild.shut(staged, settings.public, staged.name)
    except (KeyError, TypeError, ValueError) as error:
        raise BagError(Fault.LEDGER, CUSTODY_NAME) from error


def _take_into_catalogue(session: Session, folder: Path, keys: dict[bytes, str | None], here: str | None) -> int:
    """With its custody log, under the channel `here`, else that of the same name; whose it is then. That it changed
    hands, and from whom, is an event of that log, so that a rebuild finds it again where it is now."""
    channel = None if here is None else find_channel(session, here)
    before = rebuild.described_as(folder)
    try:
        files = rebuild.read(folder, keys)
        rebuild.restore(session, files, channel)
        rebuild.add_keys(session, files, keys)
        rebuild.number_on(session, files)
        copies.are_elsewhere(session, files.recording_id)
    except RebuildError as error:
        raise UserError(N_("the recording was taken in, but not put into the catalogue: {why}"), why=error) from error
    if channel is not None and before is not None:
        told: dict[str, Any] = {"to_channel": channel.slug}
        for whose in ("institution", "channel"):
            told[f"from_{whose}"] = {name: before[whose].get(name) for name in NAMES}
        now = datetime.now(UTC)
        custody.append(session, files.recording_id, "transfer", now, agent=by().name, **told)
        describe.describe(session, files.recording_id, now)
    return session.get_one(Recording, files.recording_id).institution_id


def recording_statement(settings: Settings, arguments: Namespace) -> int:
    now = datetime.now(UTC)
    with database(settings) as session:
        known, institution_id = _known(session, arguments.recording)
        signer = signing_keys.signer_of(session, institution_id, settings.signing_keys, now)
        check_ledger(session, settings, known.recording_id)
        titles = _titles(settings)
        named = None if titles is None else {LOCAL, *titles}
        places = [copy_of(one, titles or {}) for one in copies.of_recording(session, known.recording_id, named)]
    with _plain_words(arguments.output):
        stated = statement.state(settings.recordings / known.recording_id, known, now, by().name, places)
        sealed = statement.sealed(stated, partial(_sign, signer))
        with _output(arguments.output) as out:
            out.write(_made(sealed, arguments))
    with database(settings) as session:
        _note(session, "recording.statement", known.recording_id, institution_id, {"to": arguments.output})
    return 0


def _titles(settings: Settings) -> dict[str, tuple[str, str]] | None:
    """What people call the places of copies; None where locations.toml can't be read: a statement does without."""
    try:
        found = read_locations(settings.locations, settings.recordings)
    except LocationError:
        return None
    return {one.name: (one.title_sw, one.title_en) for one in found}


def _made(sealed: Statement, arguments: Namespace) -> bytes:
    if arguments.json:
        return statement.canonical(sealed) + b"\n"
    from archive.recordings.statement_pdf import render_pdf  # a fifth of a second that other commands have no use for

    return render_pdf(sealed, arguments.lang)


def _sign(signer: signing_keys.Signer, text: bytes) -> dict[str, str]:
    return {"algorithm": "Ed25519", "id": signer.id, "key": signer.public_key, "signature": signer.sign(text)}


def _known(session: Session, recording_id: str) -> tuple[About, int]:
    """What is known of a recording, and its institution's row."""
    recording, known = find_recording(session, recording_id)[0], about.from_rows(session, recording_id)
    assert known is not None
    return known, recording.institution_id


def _note(session: Session, act: str, recording_id: str, institution_id: int | None, after: dict[str, object]) -> None:
    audit.append(
        session,
        by(),
        act,
        f"recording:{recording_id}",
        now=datetime.now(UTC),
        institution_id=institution_id,
        after=after,
    )


@contextmanager
def _output(path: str) -> Iterator[IO[bytes]]:
    """A file that is there when it is whole, or standard output."""
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    partial_ = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with as_caller():
        if target.exists():
            raise BagError(Fault.TAKEN, path)
        opened = partial_.open("xb")
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with as_caller():
            partial_.rename(target)
    finally:
        with as_caller():
            partial_.unlink(missing_ok=True)


@contextmanager
def _plain_words(path: object) -> Iterator[None]:
    """`path` is what was named, for an error that names none, as of a full disk."""
    try:
        yield
    except BagError as error:
        fault, name, here = error.fault, error.name, error.here
        raise UserError(
            lambda language: BagError(fault, noted.tell(name, language, {}), here).text(language)
        ) from error
    except BrokenPipeError:  # whoever reads from `-` has enough
        raise
    except OSError as error:
        told = _as_named(error.filename) if error.filename else path
        raise UserError(N_("it can't be done: {why}: {path}"), why=error, path=told) from error


def _as_named(path: str) -> Path:
    """Of a file that is only being made, the name that its caller gave."""
    found, ending = Path(os.fsdecode(path)), f".{os.getpid()}.partial"
    return found.with_name(found.name.removeprefix(".").removesuffix(ending)) if found.name.endswith(ending) else found
