"""A recording's media for staff, closed to the public or not: who asks is looked at for each file, the edge carries it.

Files are named as the public's are (`/recordings/ID/...`), so our player plays either by its address alone.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from threading import Lock

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from archive.pages import Archive
from archive.pages.genuine import find
from archive.recordings import closures
from core import audit
from core.database import transaction
from core.staff.permissions import Act
from core.tables import Recording
from core.web.site import Site, View

PATH = "/staff/recordings/{id}/media"
WATCHED = "recording.watch"
NAMES = re.compile(
    r"(index|audio)\.m3u8|(?!original/)[a-z0-9-]{1,32}/(index\.m3u8|[0-9]{1,10}\.m4s|init-[0-9]{1,6}\.mp4)"
)
"""What the edge hands out of any recording: never its papers, nor the file that it was made of."""
IDLE_S = 300.0
"""Who asks for nothing for so long and then goes on has started anew."""
HEADERS = {"cache-control": "private, no-store"}


@dataclass(slots=True)
class _Watched:
    """By one log-in. `asked_s`: when it was asked for last, once its start is on record."""

    asked_s: float = -IDLE_S
    lock: Lock = field(default_factory=Lock)


@dataclass(slots=True)
class Watching:
    """Who (a log-in) watches which closed recording. A start is on record before its first byte goes out; after a
    restart of this process everyone's next file is one."""

    clock_s: Callable[[], float] = time.monotonic
    _watched: dict[tuple[int, str], _Watched] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def asked(self, session_id: int, recording_id: str, note: Callable[[], None]) -> None:
        """A file is asked for: `note` puts it on record where that is a start, while the other files of the same
        log-in wait, which are asked for in other threads. Raises what `note` does; then it has not started."""
        now_s = self.clock_s()
        with self._lock:
            one = self._watched.get((session_id, recording_id))
            if one is None:
                self._watched = {key: it for key, it in self._watched.items() if now_s - it.asked_s < IDLE_S}
                one = self._watched[session_id, recording_id] = _Watched()
        with one.lock:
            if now_s - one.asked_s >= IDLE_S:
                note()
            one.asked_s = max(now_s, one.asked_s)


def routes(site: Site, archive: Archive) -> list[BaseRoute]:
    return site.staff_pages(f"{PATH}/{{name:path}}", partial(_file, archive, Watching()))


def _file(archive: Archive, watching: Watching, view: View) -> Response:
    """As the rows are at this moment: a right that is taken away, or an order to destroy it, ends it with this file."""
    with transaction(archive.engine) as session:
        recording, *_ = find(session, view.request.path_params["id"])
        view.require(Act.RECORDING_READ, recording.institution_id)
        closure = closures.closure_of(session, recording.id)
    name = view.request.path_params["name"]
    if NAMES.fullmatch(name) is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    if closure is not None and closure.status is HTTPStatus.GONE:
        return Response(status_code=closure.status, headers=HEADERS)
    if closure is not None:
        watching.asked(view.staff.session_id, recording.id, partial(_note, archive, view, recording))
    return Response(headers={**HEADERS, "x-accel-redirect": f"/_recordings/{recording.id}/{name}"})


def _note(archive: Archive, view: View, recording: Recording) -> None:
    with transaction(archive.engine) as session:
        audit.append(
            session, view.actor, WATCHED, f"recording:{recording.id}", now=view.visit.now,
            institution_id=recording.institution_id,
        )  # fmt: skip
