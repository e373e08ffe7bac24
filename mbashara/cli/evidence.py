"""Commands that prove: `mbashara recording verify`, `mbashara key list|rotate`."""

import base64
import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from sqlalchemy.orm import Session

from archive.recordings import certificates, export_credentials, remembered, signing_keys, timestamp, verify
from archive.recordings.clip_words import explain, explain_credentials, explain_found
from archive.recordings.clips import Finding, Verdict, check_clip
from archive.recordings.timestamp import TimestampError
from core import audit
from core.ids import is_id
from core.plain import N_
from core.tables import Recording
from core.web.i18n import Language
from mbashara.cli.common import (
    add_command,
    by,
    database,
    find_recording,
    institution_id,
    print_list,
    with_json,
)
from mbashara.data import as_caller
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import languages, say


def add_recording_parsers(recording: "_SubParsersAction[ArgumentParser]") -> None:
    check = add_command(
        recording.add_parser("verify", help="check a recording, or a file of it, against its signed ledger"),
        recording_verify,
    )
    check.add_argument("recording", metavar="ID|FOLDER")
    check.add_argument(
        "files", nargs="*", default=[], metavar="FILE", help="is this file genuine, and of which moment?"
    )
    check.add_argument("--no-media", action="store_true", help="check the ledger alone")
    check.add_argument(
        "--lang",
        choices=("sw", "en"),
        default=languages()[0],
        help="language of the answer (default: that of commands, else sw)",
    )
    with_json(check)


def add_key_parsers(areas: "_SubParsersAction[ArgumentParser]") -> None:
    key = areas.add_parser("key", help="keys that institutions sign recordings with").add_subparsers(
        required=True, metavar="COMMAND"
    )
    with_json(add_command(key.add_parser("list", help="list the public keys"), key_list))
    rotate = add_command(key.add_parser("rotate", help="retire an institution's key and make a new one"), key_rotate)
    rotate.add_argument("institution", metavar="INSTITUTION")


def recording_verify(settings: Settings, arguments: Namespace) -> int:
    """0: whole; 1: something is not as it was; 2: it could not be checked."""
    if not is_id(arguments.recording):
        with as_caller():
            return _verify(settings, arguments)
    return _verify(settings, arguments)


def _verify(settings: Settings, arguments: Namespace) -> int:
    folder, keys, known = _place(settings, arguments.recording)
    on_air = known is not None and known.state == "recording"
    report = verify.verify(folder, keys, with_media=not arguments.no_media, on_air=on_air)
    if known is not None:
        report = report._replace(findings=[*report.findings, *remembered.compare(known, folder)])
    stamps = [*check_stamps(settings.timestamp_ca_file, folder, arguments.lang)]
    told = [_look_for(settings, folder, Path(name), Language(arguments.lang)) for name in arguments.files]
    if arguments.json:
        wrong = [text for is_good, text in stamps if not is_good]
        print(verify.json_text({**verify.as_json(report), "timestamps_wrong": wrong, "looked_for": told}))
    else:
        words = [("" if is_good else "! ") + text for is_good, text in stamps]
        print("\n".join([*verify.summary(report, arguments.lang, are_stamps_checked=True), *words]))
        for one in told:
            print("\n".join(("", f"{one['file']}:", *one["words"])))
    is_good = report.is_whole and all(is_good for is_good, _ in stamps)
    return 0 if is_good and all(one["is_genuine"] for one in told) else 1


def _look_for(settings: Settings, folder: Path, path: Path, language: Language) -> dict[str, Any]:
    """Whether someone's file is genuine: by its hash, where it is a file of the recording or an export of it; else by
    what it holds."""
    ledger, custody = (verify.read_chain(folder / name) for name in (verify.LEDGER_NAME, verify.CUSTODY_NAME))
    with as_caller():
        if not path.is_file():
            raise UserError(N_("there is no file {path}"), path=path)
        found = verify.find_file(ledger, custody, path)
        file = path.open("rb")
    told: dict[str, Any] = {"file": str(path), "is_genuine": found is not None}
    with file:  # opened by who may, taken apart by who can do no harm
        if found is not None:
            words = [explain_found(found, language)]
            return {**told, "name": found.name, "from": found.since, "to": found.until, "words": words}
        finding = check_clip(file, folder, str(imageio_ffmpeg.get_ffmpeg_exe()))
        file.seek(0)
        authority = certificates.authority(settings.c2pa_folder, datetime.now(UTC))
        credentials = export_credentials.read_file(file, export_credentials.type_of(path), authority)
    return {
        **told, "is_genuine": finding.verdict is Verdict.WHOLE, "verdict": finding.verdict.value,
        "from": _clock(finding, finding.from_ms), "to": _clock(finding, finding.to_ms),
        "credentials": credentials.standing.value,
        "words": [*explain(finding, language), explain_credentials(credentials, language)],
    }  # fmt: skip


def _clock(finding: Finding, at_ms: int | None) -> str | None:
    return None if at_ms is None else verify.wall_clock(finding.origin_ms + at_ms)


def check_stamps(ca_file: Path | None, folder: Path, language: str) -> Iterator[tuple[bool, str]]:
    """What the time-stamp authorities said, checked where their certificates (`ca_file`) are set: whether each stamp is
    good, and words. Those that belong to no signature are told of by `verify`."""
    signatures = verify.read_chain(folder / verify.SIGNATURES_NAME)
    lines = [signatures.lines[number - 1] for number, is_good in verify.stamps(signatures) if is_good]
    try:
        roots = () if ca_file is None or not lines else timestamp.read_roots(ca_file)
    except TimestampError as error:
        yield False, error.text(Language(language))
        return
    for line in lines:
        try:
            stamp = timestamp.check(base64.b64decode(line["timestamp"]), base64.b64decode(line["of"]), roots)
            at = verify.here(stamp.at.isoformat())
        except (TimestampError, ValueError, OverflowError) as error:
            text = error.text(Language(language)) if isinstance(error, TimestampError) else str(error)
            yield False, f"{verify.here(str(line.get('at')))}: {text}"
            continue
        yield True, f"{at}: {_TRUSTED[stamp.is_trusted][language == 'en']}"


_TRUSTED = {
    True: ("muhuri wa wakati (RFC 3161) ni sahihi.", "the time stamp (RFC 3161) is right."),
    False: (
        "muhuri wa wakati (RFC 3161); cheti cha mamlaka hakikukaguliwa (MBASHARA_TIMESTAMP_CA_FILE).",
        "a time stamp (RFC 3161); its authority's certificate was not checked (MBASHARA_TIMESTAMP_CA_FILE).",
    ),
}


def _place(settings: Settings, given: str) -> tuple[Path, dict[bytes, str | None] | None, Recording | None]:
    """The recording's folder; and the keys of its institution and its row, as it is now, where it is known."""
    if not is_id(given):
        folder = verify.folder_of(Path(given))
        if folder is None or not (folder / verify.LEDGER_NAME).is_file():
            raise UserError(N_("there is no recording in {path}"), path=given)
        return folder, None, None
    with database(settings) as session:
        recording = find_recording(session, given)[0]
        keys = signing_keys.public_keys(session, recording.institution_id)
        session.expunge(recording)
        return settings.recordings / given, keys, recording


def check_ledger(session: Session, settings: Settings, recording_id: str) -> None:
    """Before anything is said or made of a recording in the institution's name. Raises UserError."""
    recording = find_recording(session, recording_id)[0]
    wrong = remembered.doubts(session, settings.recordings / recording_id, recording)
    if wrong:
        raise UserError(wrong[0].told)


def key_list(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        found = signing_keys.told(session)
    return print_list(found, arguments.json, say("no institution has a key that signs yet"))


def key_rotate(settings: Settings, arguments: Namespace) -> int:
    now = datetime.now(UTC)
    with database(settings) as session:
        owner = institution_id(session, arguments.institution)
        assert owner is not None
        signer = signing_keys.rotate(session, owner, settings.signing_keys, now)
        audit.append(
            session, by(), "signing_key.rotate", f"signing_key:{signer.id}", now=now, institution_id=owner,
            after={"id": signer.id},
        )  # fmt: skip
    print(signer.id)
    sys.stdout.flush()
    return 0
