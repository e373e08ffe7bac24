"""For everyone: is what I have genuine? A recording's proof, its papers to download, and a form to check a file.

A file is hashed as it arrives, or in the browser; only its hash is looked for. None of these pages knows who asks, so
each may be kept by the edge. The custody log is not handed out: it names staff. What it says is told without them.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from archive.pages import Archive, checking
from archive.pages.checking import Answer, Kind
from archive.pages.lacking import Lacking, of_rows
from archive.pages.upload import KEPT_BYTES, MAX_BYTES, Receiver, Sent
from archive.recordings import closures, genuine, rows, signing_keys, verify
from archive.recordings.missing import Missing, missing, waited_ms
from archive.recordings.rows import MissingSpan
from archive.recordings.statement_text import CAUSES, OF_ONE
from archive.recordings.verify import APART, LEDGER_NAME, SIGNATURES_NAME, Report
from archive.words import translate
from core.database import transaction
from core.ids import is_id
from core.staff.lockout import address_key
from core.tables import Broadcast, Channel, Institution, Recording
from core.web.site import Page, Site, View

KEPT_S = 30
MAX_GAPS = 200
SHA256 = re.compile("[0-9a-f]{64}")
HANDED_OUT = {LEDGER_NAME: "application/jsonl", SIGNATURES_NAME: "application/jsonl"}
SCRIPT = Path(verify.__file__)

Found = tuple[Recording, Broadcast, Channel, Institution]


def routes(site: Site, archive: Archive) -> list[BaseRoute]:
    receive = _receiving(archive)
    recording = "/recordings/{id}/verify"
    return [
        *site.pages("/verify", partial(_anywhere, archive)),
        *site.sent_pages("/verify", receive, partial(_sent, archive)),
        *site.pages(recording, partial(_recording, archive)),
        *site.sent_pages(recording, receive, partial(_sent, archive)),
        *site.pages(f"{recording}/{{name}}", partial(_paper, archive)),
        *site.pages("/keys", partial(_keys, archive)),
        Route("/keys.json", partial(_keys_json, archive)),
        Route("/verify.py", _script),
    ]


class NotOpen(HTTPException):
    """To the public; the closure says so in words."""

    def __init__(self, closure: closures.Closure) -> None:
        super().__init__(HTTPStatus.FORBIDDEN, headers={"cache-control": "no-store"})
        self.closure = closure


def find(session: Session, recording_id: str) -> Found:
    found = rows.find_recording(session, recording_id) if is_id(recording_id) else None
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    recording, broadcast, channel = found
    return recording, broadcast, channel, session.get_one(Institution, recording.institution_id)


def find_open(session: Session, recording_id: str) -> Found:
    """For everyone: not what is under embargo. What was destroyed keeps its papers, and so its proof."""
    found = find(session, recording_id)
    closure = closures.closure_of(session, recording_id)
    if closure is not None and closure.status is HTTPStatus.FORBIDDEN:
        raise NotOpen(closure)
    return found


# The form.


def _anywhere(archive: Archive, view: View) -> Page | Response:
    sha256 = _asked(archive, view)
    if sha256 is None:
        return _form(None, None)
    with transaction(archive.engine) as session:
        answer = checking.by_hash(archive, session, sha256, None)
    return _found(view, answer, None) or _form(answer, None)


def _sent(archive: Archive, view: View, sent: Sent) -> Page | Response:
    """A file came. Where its hash says all, on to the page of that hash."""
    recording_id = view.request.path_params.get("id")
    with transaction(archive.engine) as session:
        if recording_id is not None:
            find_open(session, recording_id)
        if not sent.size_bytes:
            return _page(archive, view, session, recording_id, None, HTTPStatus.UNPROCESSABLE_ENTITY)
        answer = checking.by_hash(archive, session, sent.sha256, recording_id)
        moved = _found(view, answer, None)
        if moved is not None:
            return moved
        if sent.data is not None:
            answer = checking.by_credentials(archive, session, sent.sha256, sent.data)
        return _page(archive, view, session, recording_id, answer)


def _found(view: View, answer: Answer, shown_id: str | None) -> Response | None:
    """To the page of the recording that it is of."""
    if answer.recording_id in (None, shown_id):
        return None
    return view.to(f"/recordings/{answer.recording_id}/verify?sha256={answer.sha256}")


def _asked(archive: Archive, view: View) -> str | None:
    sha256 = view.request.query_params.get("sha256", "").strip().lower()
    if not sha256:
        return None
    if not SHA256.fullmatch(sha256):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    _bound(archive, view.request)
    return sha256


def _receiving(archive: Archive) -> Callable[[Request], Any]:
    receiver = Receiver()

    async def receive(request: Request) -> Sent:
        _bound(archive, request)
        return await receiver.receive(request)

    return receive


def _bound(archive: Archive, request: Request) -> None:
    taken = archive.tries.take(address_key(request.client.host if request.client else ""))
    if taken.retry_after_s is not None:
        headers = {"retry-after": str(taken.retry_after_s), "cache-control": "no-store"}
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, headers=headers)


def _page(
    archive: Archive, view: View, session: Session, recording_id: str | None, answer: Answer | None,
    status: HTTPStatus = HTTPStatus.OK,
) -> Page:  # fmt: skip
    if recording_id is None:
        return _form(answer, None if status is HTTPStatus.OK else "none", status)
    facts = _proof(archive, view, session, recording_id)
    return Page("archive/pages/proof.html", {**facts, **_answered(answer, status)}, status)


def _form(answer: Answer | None, problem: str | None, status: HTTPStatus = HTTPStatus.OK) -> Page:
    kept_s = KEPT_S if answer is None and problem is None else 0
    return Page("archive/pages/check.html", {"recording": None, **_answered(answer, status)}, status, kept_s)


def _answered(answer: Answer | None, status: HTTPStatus = HTTPStatus.OK) -> dict[str, Any]:
    return {
        "answer": answer,
        "kinds": Kind,
        "is_missing": status is not HTTPStatus.OK,
        "most_mb": MAX_BYTES >> 20,
        "credentials_mb": KEPT_BYTES >> 20,
    }


# A recording.


def _recording(archive: Archive, view: View) -> Page | Response:
    recording_id = view.request.path_params["id"]
    sha256 = _asked(archive, view)
    with transaction(archive.engine) as session:
        facts = _proof(archive, view, session, recording_id)
        answer = None if sha256 is None else checking.by_hash(archive, session, sha256, recording_id)
    if answer is not None and answer.kind is Kind.EXPORT and answer.recording_id != recording_id:
        return _found(view, answer, recording_id) or Page("archive/pages/proof.html", facts)
    return Page("archive/pages/proof.html", {**facts, **_answered(answer)}, kept_s=KEPT_S)


def _proof(archive: Archive, view: View, session: Session, recording_id: str) -> dict[str, Any]:
    recording, broadcast, channel, institution = find_open(session, recording_id)
    keys = signing_keys.public_keys(session, institution.id)
    report = archive.papers.report(archive.recordings / recording_id, keys, recording.state == "recording")
    is_whole = report is not None and report.is_whole and not any(one.kind == APART for one in report.findings)
    faults = [] if report is None or is_whole else [one.told(view.language) for one in report.findings]
    return {
        "recording": recording,
        "broadcast": broadcast,
        "channel": channel,
        "institution": institution,
        "lacking": _lacking(archive, session, recording, report),
        "most_gaps": MAX_GAPS,
        "cause": partial(_cause, view),
        "cause_of_one": partial(_cause, view, causes=OF_ONE),
        "waited_ms": waited_ms(report),
        "report": report,
        "is_whole": is_whole,
        "signed_at": report and report.signed_at and datetime.fromisoformat(report.signed_at),
        "faults": faults[:10],
        "kept": genuine.kept(session, recording_id, archive.place_names()),
        "done": genuine.done(session, recording_id),
        "is_downloadable": report is not None and recording.state != "recording",
        "base": str(view.request.base_url).rstrip("/"),
    }


def _lacking(archive: Archive, session: Session, recording: Recording, report: Report | None) -> Lacking:
    """As the statement has it, where there is one. What was destroyed has no files that could be looked at."""
    if report is not None and report.is_whole and recording.disposed_at is None:
        return archive.accounts.lacking(archive.recordings / recording.id, recording.state == "recording")
    return of_rows(missing(rows.gaps(session, recording.id), report))


def told_gaps(view: View, gaps: Sequence[Missing]) -> list[tuple[MissingSpan, str]]:
    """The first of them, with their causes in words, and the rendition where one alone lacks it."""
    return [(one.span, _cause_in(view, one)) for one in gaps[:MAX_GAPS]]


def _cause_in(view: View, gap: Missing) -> str:
    return f"{_cause(view, gap.cause, OF_ONE)} ({gap.rendition})" if gap.rendition else _cause(view, gap.cause)


def _cause(view: View, cause: str, causes: Mapping[str, str] = CAUSES) -> str:
    return translate(causes[cause], view.language) if cause in causes else cause


def _paper(archive: Archive, view: View) -> Response:
    """For those who check without us. Not while they grow: one that is younger than another tells of a cut."""
    recording_id, name = view.request.path_params["id"], view.request.path_params["name"]
    with transaction(archive.engine) as session:
        recording, *_ = find_open(session, recording_id)
    path = archive.recordings / recording_id / name
    if name not in HANDED_OUT or recording.state == "recording" or not path.is_file():
        raise HTTPException(HTTPStatus.NOT_FOUND)
    headers = {"cache-control": "private, max-age=30"}  # too large for the edge's cache of pages
    return FileResponse(path, media_type=HANDED_OUT[name], filename=name, headers=headers)


# Keys, and the script.


def _keys(archive: Archive, view: View) -> Page:
    with transaction(archive.engine) as session:
        found = signing_keys.published(session)
    held = {path.stem for path in archive.signing_keys.glob("*.pem")}
    return Page("archive/pages/keys.html", {"keys": found, "held": held, "fingerprint": fingerprint}, kept_s=KEPT_S)


def fingerprint(public_key: str) -> str:
    """In groups of four, for people who compare it with one on paper."""
    digest = hashlib.sha256(base64.b64decode(public_key)).hexdigest()
    return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4))


def _keys_json(archive: Archive, _request: Request) -> Response:
    with transaction(archive.engine) as session:
        keys = [
            {
                "id": key.id, "institution": owner.slug, "name_sw": owner.name_sw, "name_en": owner.name_en,
                "algorithm": "Ed25519", "public_key": key.public_key, "created_at": key.created_at.isoformat(),
                "retired_at": key.retired_at and key.retired_at.isoformat(),
            }
            for key, owner in signing_keys.published(session)
        ]  # fmt: skip
    headers = {"cache-control": "public, max-age=60", "access-control-allow-origin": "*"}
    return JSONResponse({"keys": keys}, headers=headers)


def _script(_request: Request) -> Response:
    headers = {"cache-control": "public, max-age=300"}
    return FileResponse(SCRIPT, media_type="text/plain", filename="verify.py", headers=headers)
