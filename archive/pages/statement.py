"""The completeness statement as a page, as paper and as data: the same for all three, made anew when the recording has
changed. For everyone; where the copies are is told to staff alone. Of a recording whose papers don't prove themselves
nothing is signed: the page says what is wrong.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from archive.pages import Archive
from archive.pages.genuine import find, find_open
from archive.pages.papers import settled, version_of
from archive.recordings import about, copies, remembered, signing_keys, statement
from archive.recordings.statement import Copy, Statement, StatementError, copy_of
from archive.recordings.statement_text import tell
from archive.recordings.verify import Finding
from core import audit
from core.database import transaction
from core.staff.permissions import Act
from core.tables import Recording
from core.web.i18n import Language
from core.web.site import Page, Site, View

KEPT_S = 30
MAX_MADE, MAX_WAITING = 200, 8
MAX_PAPERS = 50
"""PDFs of some ten kilobytes, some hundred where there are many gaps."""
MADE_BY = "Mbashara"
MAX_SAID = 10


class Doubtful(Exception):
    """Nothing may be stated in the institution's name."""

    def __init__(self, doubts: Sequence[Finding]) -> None:
        super().__init__(doubts)
        self.doubts = doubts


class _Kept(NamedTuple):
    version: object
    made_at: datetime
    is_on_air: bool
    document: Statement | Doubtful


class Made:
    """The newest statement of each recording, or why there is none: checking and signing is not for whoever reloads a
    page. One is made at a time, and no connection is held for it; while a recording is on the air, what was stated of
    it stands for KEPT_S, however its papers grow."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bool], _Kept] = OrderedDict()
        self._papers: OrderedDict[tuple[str, Language], bytes] = OrderedDict()
        self._lock, self._printing = Lock(), Lock()
        self._waiting = BoundedSemaphore(MAX_WAITING)

    def sealed(
        self, archive: Archive, view: View, recording: Recording, places: Sequence[Copy], for_staff: bool
    ) -> Statement:
        """Raises Doubtful, StatementError, OSError, HTTPException where too many wait for one."""
        key, now = (recording.id, for_staff), view.visit.now
        folder = archive.recordings / recording.id
        heads = (recording.ledger_head, recording.custody_head, recording.state, recording.signed_at)
        version = (*heads, tuple(places), version_of(folder))
        made = self._found(key, version, recording, now)
        if made is None:
            with self._turn(self._lock):
                made = self._found(key, version, recording, now) or _make(archive, recording, folder, places, now)
                self._kept[key] = _Kept(version, now, recording.state == "recording", made)
                if len(self._kept) > MAX_MADE:
                    self._kept.popitem(last=False)
        if isinstance(made, Doubtful):
            raise Doubtful(made.doubts)
        return made

    def on_paper(self, document: Statement, language: Language) -> bytes:
        """As PDF, made once: a cookie or a parameter that no page knows leads past the edge's cache."""
        from archive.recordings.statement_pdf import render_pdf  # long to load, and seldom wanted

        key = (document["signature"]["signature"], language)
        made = self._papers.get(key)
        if made is not None:
            return made
        with self._turn(self._printing):
            made = self._papers.get(key) or render_pdf(document, language)
            self._papers[key] = made
            if len(self._papers) > MAX_PAPERS:
                self._papers.popitem(last=False)
        return made

    @contextmanager
    def _turn(self, lock: Lock) -> Iterator[None]:
        """Raises HTTPException where too many wait: they would hold the threads that all pages need."""
        if not self._waiting.acquire(blocking=False):
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            with lock:
                yield
        finally:
            self._waiting.release()

    def _found(
        self, key: tuple[str, bool], version: object, recording: Recording, now: datetime
    ) -> Statement | Doubtful | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        is_live = kept.is_on_air and recording.state == "recording" and not isinstance(kept.document, Doubtful)
        is_young = is_live and (now - kept.made_at).total_seconds() < KEPT_S
        return kept.document if is_young or kept.version == version else None


def _make(
    archive: Archive, recording: Recording, folder: Path, places: Sequence[Copy], now: datetime
) -> Statement | Doubtful:
    with transaction(archive.engine) as session:
        keys = signing_keys.public_keys(session, recording.institution_id)
        known = about.from_rows(session, recording.id)
    doubts = settled(folder, partial(remembered.doubts_with, keys, folder, recording), lambda found: not found)
    if doubts:
        return Doubtful(doubts)
    assert known is not None, "its row was just found"
    stated = statement.state(folder, known, now, MADE_BY, places)
    with transaction(archive.engine) as session:
        signer = signing_keys.signer_of(session, recording.institution_id, archive.signing_keys, now)
    return statement.sealed(stated, partial(_sign, signer))


def routes(site: Site, archive: Archive) -> list[BaseRoute]:
    made = Made()
    public, staff = "/recordings/{id}/statement", "/staff/recordings/{id}/statement"
    return [
        *site.pages(public, partial(_page, archive, made, False)),
        *site.pages(f"{public}/{{kind}}", partial(_file, archive, made, False)),
        *site.staff_pages(staff, partial(_page, archive, made, True)),
        *site.staff_pages(f"{staff}/{{kind}}", partial(_file, archive, made, True)),
    ]


def _page(archive: Archive, made: Made, for_staff: bool, view: View) -> Page:
    try:
        document = _sealed(archive, made, for_staff, view)
    except Doubtful as doubtful:
        return _said(doubtful, view, for_staff)
    told = tell(document, view.language)
    facts = {
        "told": told,
        "bars": [(begin * 1000, max((end - begin) * 1000, 1.5)) for begin, end in told.bar.gaps],
        "address": view.request.url.path,
        "recording_id": document["statement"]["recording"],
        "for_staff": for_staff,
    }
    return Page("archive/statement.html", facts, kept_s=0 if for_staff else KEPT_S)


def _said(doubtful: Doubtful, view: View, for_staff: bool) -> Page:
    facts = {
        "faults": [one.told(view.language) for one in doubtful.doubts[:MAX_SAID]],
        "recording_id": view.request.path_params["id"],
        "for_staff": for_staff,
    }
    return Page("archive/pages/no_statement.html", facts, HTTPStatus.CONFLICT)


def _file(archive: Archive, made: Made, for_staff: bool, view: View) -> Page | Response:
    """`statement.pdf` or `statement.json`. What staff take away is on record."""
    try:
        document = _sealed(archive, made, for_staff, view, taken=True)
    except Doubtful as doubtful:
        return _said(doubtful, view, for_staff)
    name = f"{document['statement']['recording']}-statement"
    match view.request.path_params["kind"]:
        case "statement.pdf":
            body, kind, suffix = made.on_paper(document, view.language), "application/pdf", f"-{view.language}.pdf"
        case "statement.json":
            body, kind, suffix = statement.canonical(document) + b"\n", "application/json", ".json"
        case _:
            raise HTTPException(HTTPStatus.NOT_FOUND)
    kept = "no-store" if for_staff else f"public, max-age={KEPT_S}"
    headers = {"content-disposition": f'attachment; filename="{name}{suffix}"', "cache-control": kept}
    return Response(body, media_type=kind, headers=headers)


def _sealed(archive: Archive, made: Made, for_staff: bool, view: View, taken: bool = False) -> Statement:
    """Raises Doubtful."""
    with transaction(archive.engine) as session:
        recording, *_ = (find if for_staff else find_open)(session, view.request.path_params["id"])
        if for_staff:
            view.require(Act.RECORDING_READ, recording.institution_id)
        kept = copies.of_recording(session, recording.id, archive.place_names()) if for_staff else []
    titles = {one.name: (one.title_sw, one.title_en) for one in archive.places()} if for_staff else {}
    places = [copy_of(one, titles) for one in kept]
    if not recording.signed_bytes:
        raise HTTPException(HTTPStatus.NOT_FOUND)  # there is nothing yet that a statement could rest on
    try:
        sealed = made.sealed(archive, view, recording, places, for_staff)
    except (StatementError, OSError) as error:
        raise HTTPException(HTTPStatus.NOT_FOUND) from error
    if for_staff and taken:
        with transaction(archive.engine) as session:
            audit.append(
                session, view.actor, "recording.statement", f"recording:{recording.id}", now=view.visit.now,
                institution_id=recording.institution_id, after={"as": view.request.path_params["kind"]},
            )  # fmt: skip
    return sealed


def _sign(signer: signing_keys.Signer, text: bytes) -> dict[str, str]:
    return {"algorithm": "Ed25519", "id": signer.id, "key": signer.public_key, "signature": signer.sign(text)}
