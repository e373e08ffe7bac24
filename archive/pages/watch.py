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
class Watching:
    """Who (a log-in) watches which closed recording. A start is on record before its first byte goes out; after a
    restart of this process everyone's next file is one."""

    clock_s: Callable[[], float] = time.monotonic
    _asked_s: dict[tuple[int, str], float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def starts(self, session_id: int, recording_id: str) -> bool:
        """Notes that it was asked for now. Files are asked for in several threads at once: one of them starts."""
        now_s, key = self.clock_s(), (session_id, recording_id)
        with self._lock:
            is_new = now_s - self._asked_s.get(key, -IDLE_S) >= IDLE_S
            self._asked_s[key] = now_s
            if is_new:
                recent = {one: at_s for one, at_s in self._asked_s.items() if now_s - at_s < IDLE_S}
                self._asked_s = recent
        return is_new

    def forget(self, session_id: int, recording_id: str) -> None:
        """Its start could not be put on record."""
        with self._lock:
            self._asked_s.pop((session_id, recording_id), None)


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
    if closure is not None and watching.starts(view.staff.session_id, recording.id):
        try:
            _note(archive, view, recording)
        except BaseException:
            watching.forget(view.staff.session_id, recording.id)
            raise
    return Response(headers={**HEADERS, "x-accel-redirect": f"/_recordings/{recording.id}/{name}"})


def _note(archive: Archive, view: View, recording: Recording) -> None:
    with transaction(archive.engine) as session:
        audit.append(
            session, view.actor, WATCHED, f"recording:{recording.id}", now=view.visit.now,
            institution_id=recording.institution_id,
        )  # fmt: skip
