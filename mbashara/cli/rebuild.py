"""`mbashara rebuild`: the catalogue of recordings made again from their files, here or at a location."""

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy.orm import Session

from archive.recordings import closures, fetch, policy_rebuild, rebuild, signing_keys
from archive.recordings.ledger import has_ended
from archive.recordings.locations.config import read_locations
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.opening import open_store
from core import audit
from core.database import DatabaseAway
from core.ids import is_id
from core.plain import N_, PlainError
from mbashara.cli.common import add_command, by, database, read_keys
from mbashara.data import check_begun, check_there, prepare, stepped_down
from mbashara.plain import DataError, UserError
from mbashara.settings import Settings
from mbashara.words import in_words, say


def add_parser(areas: "_SubParsersAction[ArgumentParser]") -> None:
    again = add_command(
        areas.add_parser("rebuild", help="make the catalogue of recordings again from their files"), rebuild_catalogue
    )
    again.add_argument("--from", dest="location", metavar="LOCATION", help="bring back what is not here from there")
    again.add_argument("--keys", type=Path, metavar="FILE", help="published keys to trust beside those in DATA/secrets")


def rebuild_catalogue(settings: Settings, arguments: Namespace) -> int:
    """0: every recording is in the catalogue; 1: some could not be put there, and why."""
    (check_there if arguments.location else check_begun)(settings)
    ours = signing_keys.public_halves(settings.signing_keys)
    trusted = dict.fromkeys(ours)
    if arguments.keys is not None:
        trusted |= read_keys(arguments.keys)
    prepare(settings)
    with stepped_down(settings):
        return _rebuild(settings, arguments, trusted, ours)


def _rebuild(
    settings: Settings, arguments: Namespace, trusted: Mapping[bytes, str | None], ours: Collection[bytes] = ()
) -> int:
    failed = unfetched = _fetch(settings, arguments.location, trusted) if arguments.location else 0
    ids = (path for path in settings.recordings.iterdir() if is_id(path.name))
    folders = sorted(ids, key=lambda path: (_has_ended(path), path.name), reverse=True)
    done = there = 0
    for folder in folders:
        try:
            is_new = _restore(settings, folder, trusted, ours)
            done, there = done + is_new, there + (not is_new)
        except (DatabaseAway, DataError):
            raise
        except Exception as error:  # the top of one recording's way: the others have theirs
            failed += 1
            _tell(folder.name, error)
    words = N_("{done} of {all} recordings put back; {there} were there already")
    print(say(words, done=done, all=len(folders) + unfetched, there=there))
    sys.stdout.flush()
    return 1 if failed else 0


def _has_ended(folder: Path) -> bool:
    """One that was cut off comes last: it does not say whose it is, and the others make the channels."""
    with suppress(OSError):
        return has_ended(folder)
    return False


def _tell(recording_id: str, error: Exception) -> None:
    words = str(error) or type(error).__name__
    if isinstance(error, PlainError | StoreError):
        words = in_words(error.text)
    print(f"! {words if recording_id in words else f'{recording_id}: {words}'}", flush=True)


def _restore(settings: Settings, folder: Path, trusted: Mapping[bytes, str | None], ours: Collection[bytes]) -> bool:
    files = rebuild.read(folder, trusted)
    with database(settings) as session:
        if not rebuild.restore(session, files):
            return False
        rebuild.add_keys(session, files, trusted, ours)
        rebuild.number_on(session, files)
        policy_rebuild.keep_shut(session, files.recording_id, settings.public, by(), datetime.now(UTC))
        _audit(session, files)
        closures.show(session, settings.public, files.recording_id)
    return True


def _audit(session: Session, files: rebuild.Files) -> None:
    subject = f"recording:{files.recording_id}"
    audit.append(session, by(), "recording.rebuild", subject, now=datetime.now(UTC), after={"head": files.ledger.head})


def _fetch(settings: Settings, name: str, trusted: Collection[bytes]) -> int:
    """How many could not be brought back."""
    found = [one for one in read_locations(settings.locations, settings.recordings) if one.name == name]
    if not found:
        raise UserError(N_("there is no location {name} in {path}"), name=name, path=settings.locations)
    store, failed = open_store(found[0]), 0
    try:
        for recording_id in fetch.recordings_at(store):
            if is_id(recording_id) and not (settings.recordings / recording_id).exists():
                print(f"{recording_id} …", flush=True)
                try:
                    shut = partial(policy_rebuild.shut, public=settings.public, recording_id=recording_id)
                    fetch.fetch(store, recording_id, settings.recordings, trusted, accept=shut)
                except Exception as error:  # as above
                    failed += 1
                    _tell(recording_id, error)
    except StoreError as error:
        raise UserError(error.text) from error
    finally:
        store.close()
    return failed
