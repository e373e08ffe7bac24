"""The archivists' pages: what is kept where and how well, the list of recordings, one recording with its history."""

import io
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from functools import partial
from http import HTTPStatus
from itertools import chain

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from archive.pages import Archive, noted
from archive.pages.genuine import Found, find, told_gaps
from archive.recordings import (
    about,
    alarms,
    checks,
    closures,
    copies,
    custody,
    forgotten,
    overview,
    rows,
    signing_keys,
    store_holds,
)
from archive.recordings.alarms import Kind
from archive.recordings.missing import missing, waited_ms
from archive.recordings.overview import Filter, Shown
from archive.recordings.premis import write_premis
from archive.recordings.statement_text import STATES
from archive.recordings.tables import RecordingCopy
from archive.words import N_, translate
from core import audit
from core.database import transaction
from core.ids import is_id
from core.staff.permissions import Act, Scope, scope
from core.web.dates import EAST_AFRICA_TIME
from core.web.site import Page, Site, View

PATH = "/staff/recordings"
OVERVIEW = "/staff/archive"
ROWS = 30
EVENTS = 30
FIXITY = "fixity check"
WORDS = {
    Shown.ALL: N_("all"), Shown.SAFE: N_("safe: whole everywhere"), Shown.COPYING: N_("being copied"),
    Shown.FAULTY: N_("faulty"), Shown.HELD: N_("stopped, until a person has looked at it"),
    Shown.FEW: N_("fewer than two whole copies"),
}  # fmt: skip


def routes(site: Site, archive: Archive) -> list[BaseRoute]:
    one = f"{PATH}/{{id}}"
    return [
        *site.staff_pages(OVERVIEW, partial(_overview, archive)),
        *site.staff_pages(PATH, partial(_list, archive)),
        *site.staff_pages(one, partial(_recording, archive)),
        *site.staff_pages(f"{one}/check", partial(_check, archive), ("POST",)),
        *site.staff_pages(f"{one}/premis.xml", partial(_premis, archive)),
    ]


def _visible(view: View) -> Scope:
    if not view.may_anywhere(Act.RECORDING_READ):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    return scope(view.staff.memberships, Act.RECORDING_READ)


def _find(session: Session, view: View, act: Act) -> Found:
    """The recording of the path, if the person may do this with it."""
    found = find(session, view.request.path_params["id"])
    view.require(act, found[0].institution_id)
    return found


def _overview(archive: Archive, view: View) -> Page:
    visible, now = _visible(view), view.visit.now
    known, trouble = archive.place_names(), archive.places_trouble()
    with transaction(archive.engine) as session:
        counted = overview.by_location(session, visible)
        troubled = overview.troubled(session, visible, now, places=known)
        left, untold = forgotten.of_destroyed(session, visible), store_holds.untold(session, visible, now)
        unstamped = overview.unstamped(session, visible, now) if archive.is_stamped else 0
    places = list(archive.places())
    named = {one.name for one in places}
    dropped = {name: one.at_risk for name, one in counted.items() if known is not None and name not in known}
    counts = {
        Kind.LOCATION_DROPPED: dropped, Kind.REMAINS_LEFT: left, Kind.HOLD_UNTOLD: untold,
        Kind.UNSTAMPED: {"": unstamped},
    }  # fmt: skip
    of_places = chain.from_iterable(alarms.of_each(kind, counted) for kind, counted in counts.items())
    facts = {
        "alarms": alarms.decide(troubled, now, known, of_places),
        "delayed": alarms.delayed(troubled, known),
        "trouble": trouble and trouble.text(view.language),
        "places": [(one, counted.get(one.name), one.free_bytes()) for one in places],
        "forgotten": {name: one for name, one in counted.items() if name not in named},
        "names": _names(archive, view),
        "tell": noted.teller(view.language, _names(archive, view)),
        "late": now - alarms.OVERDUE_BY,
    }
    return Page("archive/pages/overview.html", facts)


def _names(archive: Archive, view: View, seen: Iterable[RecordingCopy] = ()) -> dict[str, str]:
    """What people call the places; of the others where copies were `seen` it is said that they are none any more."""
    names = archive.titles(view.pick)
    if not archive.places_trouble():
        gone = view.words.gettext(N_("no place any more"))
        names = {copy.location: f"{copy.location} ({gone})" for copy in seen} | names
    return names


def _list(archive: Archive, view: View) -> Page:
    visible, asked = _visible(view), view.request.query_params
    wanted = Filter(
        asked.get("channel", "")[:40], asked.get("words", "").strip()[:100], _day(asked.get("since", "")),
        _day(asked.get("until", ""), 1), _shown(asked.get("shown", "")), archive.place_names(),
    )  # fmt: skip
    with transaction(archive.engine) as session:
        after = _cursor(session, asked.get("after", ""))
        found = overview.page(session, visible, wanted, after=after, limit=ROWS + 1)
        shown = found[:ROWS]
        kept = overview.copies_of(session, [recording.id for recording, _, _ in shown])
        mine = overview.channels(session, visible)
    names = ("channel", "words", "since", "until", "shown")
    values = {name: asked[name] for name in names if asked.get(name)}
    facts = {
        "recordings": shown,
        "copies": kept,
        "places": [one.name for one in archive.places()],
        "names": _names(archive, view, chain.from_iterable(kept.values())),
        "channels": [(one.slug, view.pick(one.name_sw, one.name_en)) for one in mine],
        "states": [(str(one), translate(words, view.language)) for one, words in WORDS.items()],
        "values": values,
        "older_than": shown[-1][0].id if len(found) > ROWS else None,
        "copy_words": copy_words(view),
    }
    return Page("archive/pages/recordings.html", facts)


def copy_words(view: View) -> dict[str, str]:
    return {state: translate(words, view.language) for state, words in STATES.items()}


def _day(text: str, more_days: int = 0) -> datetime | None:
    """The beginning of a day in Tanzania; None for what is none."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date() + timedelta(days=more_days)
    except (ValueError, OverflowError):
        return None
    return datetime.combine(day, time(), EAST_AFRICA_TIME) if 1900 < day.year < 9000 else None


def _shown(text: str) -> Shown:
    return Shown(text) if text in set(Shown) else Shown.ALL


def _cursor(session: Session, recording_id: str) -> tuple[datetime, str] | None:
    found = rows.find_recording(session, recording_id) if is_id(recording_id) else None
    return None if found is None else (found[0].started_at, recording_id)


def _recording(archive: Archive, view: View) -> Page:
    asked = view.request.query_params
    before, kind = asked.get("before", ""), asked.get("kind", "")[:60]
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None
    with transaction(archive.engine) as session:
        recording, broadcast, channel, institution = _find(session, view, Act.RECORDING_READ)
        keys = signing_keys.public_keys(session, institution.id)
        gaps = rows.gaps(session, recording.id)
        kept = copies.of_recording(session, recording.id)
        found = overview.events(session, recording.id, kind=kind, before_id=before_id, limit=EVENTS + 1)
        facts = {
            "recording": recording,
            "broadcast": broadcast,
            "channel": channel,
            "closure": closures.closure_of(session, recording.id),
            "copies": kept,
            "renditions": rows.renditions(session, recording.id),
            "events": found[:EVENTS],
            "older_than": found[EVENTS - 1][0].id if len(found) > EVENTS else None,
            "kind": kind,
        }
    report = archive.papers.report(archive.recordings / recording.id, keys, recording.state == "recording")
    lacking = missing(gaps, report)
    names = _names(archive, view, kept)
    more = {
        "gaps": told_gaps(view, lacking),
        "gap_count": len(lacking),
        "waited_ms": waited_ms(report),
        "report": report,
        "faults": [] if report is None else [one.told(view.language) for one in report.findings],
        "is_whole": report is not None and report.is_whole,
        "signed_at": report and report.signed_at and datetime.fromisoformat(report.signed_at),
        "names": names,
        "tell": noted.teller(view.language, names),
        "deed": custody.deed,
        "copy_words": copy_words(view),
        "may_check": view.may(Act.RECORDING_EDIT, recording.institution_id),
        "told": asked.get("told", ""),
        "fixity": FIXITY,
        "player": archive.player(view.words.gettext),
    }
    return Page("archive/pages/recording.html", {**facts, **more})


def _check(archive: Archive, view: View) -> Response:
    """Has the copies read again now, or the papers alone, which takes no time."""
    if view.field("what") == "papers":
        with transaction(archive.engine) as session:
            recording, *_ = _find(session, view, Act.RECORDING_EDIT)
        archive.papers.forget(archive.recordings / recording.id)
        return view.to(f"{PATH}/{recording.id}?told=papers")
    with transaction(archive.engine) as session:
        recording, *_ = _find(session, view, Act.RECORDING_EDIT)
        asked = checks.ask(session, view.visit.now, recording.id)
        audit.append(
            session, view.actor, "recording.check", f"recording:{recording.id}", now=view.visit.now,
            institution_id=recording.institution_id, after={"copies": asked},
        )  # fmt: skip
    return view.to(f"{PATH}/{recording.id}?told={'asked' if asked else 'none'}")


def _premis(archive: Archive, view: View) -> Response:
    """What was done with the recording, for other archives (PREMIS 3). It names staff: who took it is on record."""
    with transaction(archive.engine) as session:
        recording, *_ = _find(session, view, Act.RECORDING_READ)
        known = about.from_rows(session, recording.id)
        assert known is not None, "its row was just found"
        audit.append(
            session, view.actor, "recording.export", f"recording:{recording.id}", now=view.visit.now,
            institution_id=recording.institution_id, after={"as": "premis"},
        )  # fmt: skip
    file = io.BytesIO()
    try:
        write_premis(archive.recordings / recording.id, file, known, archive.version)
    except (OSError, ValueError) as error:
        raise HTTPException(HTTPStatus.NOT_FOUND) from error
    disposition = f'attachment; filename="{recording.id}-premis.xml"'
    headers = {"content-disposition": disposition, "cache-control": "no-store"}
    return Response(file.getvalue(), media_type="application/xml", headers=headers)
