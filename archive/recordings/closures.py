"""What the edge may not hand out: a file PUBLIC/closed/ID for each recording under embargo, PUBLIC/gone/ID for each
that was destroyed by order. The edge answers 403 and 410 while they are there, with what is in them: a page.

The rows are the truth. Whoever changes them has `show` bring the folder up to them before answering; the work process
does the same for all, at its start and in each round. Of a recording that has no row nothing is taken away: who brings
one that is under embargo closes it first (`shut`), then moves its files in, and then its row comes, with the embargo.
All raise OSError for a folder that can't be written.
"""

import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from http import HTTPStatus
from pathlib import Path

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from archive.recordings.policy_errors import at
from archive.recordings.policy_tables import Embargo
from archive.words import N_, translate
from core.ids import is_id
from core.media.files import sync_file_system
from core.tables import Recording
from core.web.i18n import Language

FOLDERS = {HTTPStatus.FORBIDDEN: "closed", HTTPStatus.GONE: "gone"}
UNDER_EMBARGO = N_("This recording is not open to the public yet.")
UNTIL = N_("This recording is not open to the public until {at} (East Africa Time).")
DESTROYED = N_(
    "This recording was destroyed by order on {at} (East Africa Time). What it was, and whose order, stays on record."
)
_PAGE = (
    '<!doctype html><html lang="sw"><meta charset="utf-8"><title>{sw}</title>'
    '<meta name="viewport" content="width=device-width"><p>{sw}</p><p lang="en">{en}</p></html>\n'
)


@dataclass(frozen=True, slots=True)
class Closure:
    """Why the public gets none of a recording: FORBIDDEN (an embargo, which ends `at`, if that is known), or GONE (it
    was destroyed `at`)."""

    status: HTTPStatus
    at: datetime | None

    def said(self, language: Language) -> str:
        text = DESTROYED if self.status is HTTPStatus.GONE else UNDER_EMBARGO if self.at is None else UNTIL
        return translate(text, language).format(at=self.at and at(self.at))


_ANY = or_(Recording.is_embargoed, Recording.disposed_at.is_not(None))
Closures = Mapping[str, Closure]
"""By the recording."""


def closure_of(session: Session, recording_id: str) -> Closure | None:
    return _closed(session, Recording.id == recording_id).get(recording_id)


def show(session: Session, public: Path, recording_id: str) -> None:
    """Of one recording, as its rows are."""
    _bring(session, public, _closed(session, Recording.id == recording_id), {recording_id})


def shut(public: Path, recording_id: str, until: datetime | None) -> None:
    """Closes a recording that is to come, under an embargo that ends then; it is on the disk when this returns."""
    _write(public / FOLDERS[HTTPStatus.FORBIDDEN] / recording_id, Closure(HTTPStatus.FORBIDDEN, until))
    sync_file_system(public)


def is_shut(public: Path, recording_id: str) -> bool:
    return (public / FOLDERS[HTTPStatus.FORBIDDEN] / recording_id).exists()


def show_all(session: Session, public: Path, known: Closures | None = None) -> Closures:
    """Of every recording, as the rows are. `known`: what it returned the last time: what has not changed since is not
    looked at again; without it, every file is."""
    wanted = _closed(session, _ANY)
    there = {name for folder in FOLDERS.values() for name in os.listdir(public / folder)}
    if known is None:
        _bring(session, public, wanted, there)
    else:
        changed = {name: closure for name, closure in wanted.items() if known.get(name) != closure}
        _bring(session, public, changed, ((known.keys() | there) - wanted.keys()) | changed.keys())
    return wanted


def mark() -> ScalarSelect[int]:
    """A question for the bell: the answer is another one when `show_all` would find something else."""
    told = _rows(_ANY).subquery()
    return select(func.sum(func.hashtext(func.concat_ws(" ", *told.c)))).scalar_subquery()


def _rows(which: ColumnElement[bool]) -> Select[str, datetime | None, datetime | None]:
    """What is on the air is not closed by an embargo before its end."""
    embargoed = and_(Recording.is_embargoed, Recording.state != "recording")
    return (
        select(Recording.id, Recording.disposed_at, Embargo.until)
        .outerjoin(Embargo, and_(Embargo.recording_id == Recording.id, Embargo.lifted_at.is_(None)))
        .where(which, or_(embargoed, Recording.disposed_at.is_not(None)))
    )


def _closed(session: Session, which: ColumnElement[bool]) -> dict[str, Closure]:
    return {
        row.id: Closure(HTTPStatus.FORBIDDEN, row.until)
        if row.disposed_at is None
        else Closure(HTTPStatus.GONE, row.disposed_at)
        for row in session.execute(_rows(which))
    }


def _bring(session: Session, public: Path, wanted: Closures, names: Collection[str]) -> None:
    """Files that are to be there first, then those that are not. Whether a recording is closed is asked once it is
    known that its row is there: one that came in since `wanted` was asked, with its embargo, stays closed."""
    known = session.scalars(select(Recording.id).where(Recording.id.in_(names))).all()
    wanted = {**wanted, **_closed(session, Recording.id.in_(known))}
    for name, closure in wanted.items():
        _write(public / FOLDERS[closure.status] / name, closure)
    for name in {*known, *wanted, *(name for name in names if not is_id(name))}:
        for status, folder in FOLDERS.items():
            if name not in wanted or wanted[name].status is not status:
                (public / folder / name).unlink(missing_ok=True)


def _write(path: Path, closure: Closure) -> None:
    said = {language.value: escape(closure.said(language)) for language in Language}
    page = _PAGE.format(**said)
    if path.exists() and path.read_text() == page:
        return
    fresh = path.with_name(f".{secrets.token_hex(8)}")
    fresh.write_text(page)
    fresh.chmod(0o644)
    fresh.rename(path)
