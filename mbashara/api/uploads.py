"""Resumable uploads (tus 1.0.0) of files that become recordings, at two addresses: for programs with a token under
/api/v1/uploads, for staff's browsers under /staff/uploads.

Bytes go to the disk as they come; a megabyte at most of a request is in memory. What was received is safe and on record
every few megabytes, so a killed process costs no more than those.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from archive.imports import jobs, tus, uploads
from archive.imports.tables import ImportJob
from archive.imports.tus import Patch, TusError, Wrong
from archive.imports.uploads import Cause, Depot, Growing, UploadRefused
from core.audit import Actor
from core.database import transaction
from core.ids import RANDOM_BYTES, is_id, new_id
from core.staff.permissions import Act, Scope, scope
from core.web.limits import Buckets, Rate
from core.web.site import Site
from mbashara.api import problems
from mbashara.api.caller import Api, enter
from mbashara.api.problems import Kind, Refused, Said, invalid
from mbashara.settings import Settings

API_PATH, STAFF_PATH = "/api/v1/uploads", "/staff/uploads"
PIECE_BYTES = 1 << 20
SAFE_EVERY_BYTES = 16 << 20

LARGE_PIECE_BYTES = 256 << 10
AT_ONCE = 4
"""Pieces of one sender on their way. A browser sends one; programs may send some files side by side."""
SENDER_RATE = Rate(burst=60, per_s=10)
"""Requests of one sender. A large piece gives its own back when it is safe: as many may come as a line brings."""
WRONG = {
    Wrong.VERSION: Kind.TUS_VERSION,
    Wrong.HEADER: Kind.MALFORMED,
    Wrong.BODY_TYPE: Kind.BODY_TYPE,
    Wrong.LENGTH: Kind.LARGE,
    Wrong.OFFSET: Kind.OFFSET,
    Wrong.CHECKSUM: Kind.CHECKSUM,
}
FIELDS = {
    Cause.CHANNEL: ("channel", "There is no such channel here."),
    Cause.TIME: ("at", "Write the time with its zone, such as 2026-11-24T12:00:00+03:00."),
    Cause.FUTURE: ("at", "This time is still to come."),
    Cause.SHA256: ("sha256", "This value is not right."),
    Cause.EMBARGO: ("embargo", "Say yes, or leave out its reason and its end."),
    Cause.EMBARGO_REASON: ("embargo_reason", "Give a reason of 1 to 1000 characters."),
    Cause.EMBARGO_UNTIL: ("embargo_until", "Write a time that is still to come, such as 2026-11-24T12:00:00+03:00."),
}
NOWHERE = Scope(False, frozenset())
CAUSES = {
    Cause.MANY: Kind.UPLOADS_MANY,
    Cause.QUOTA: Kind.NO_SPACE,
    Cause.FULL: Kind.NO_SPACE,
    Cause.LOCKED: Kind.LOCKED,
    Cause.GONE: Kind.GONE,
    Cause.UNKNOWN: Kind.NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class Uploader:
    """Who sends, and at which institutions; at which of them an embargo may be asked for."""

    key: str
    """Of the token or the person: what is bounded is theirs together."""
    actor: Actor
    place: Scope
    embargoes: Scope


class Pace:
    """How much of the program one sender may keep busy."""

    def __init__(
        self, rate: Rate = SENDER_RATE, at_once: int = AT_ONCE, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._requests, self._at_once = Buckets(rate, clock_s), at_once
        self._on_their_way: Counter[str] = Counter()

    def take(self, key: str) -> None:
        wait_s = self._requests.take(key).retry_after_s
        if wait_s is not None:
            raise Refused(Kind.TOO_MANY, headers={"retry-after": str(wait_s)})

    @contextmanager
    def piece(self, key: str) -> Iterator[Callable[[int], None]]:
        """On the loop. What it gives is told how many bytes are safe."""
        if self._on_their_way[key] >= self._at_once:
            said = Said("Send at most {most} pieces at once.", {"most": self._at_once})
            raise Refused(Kind.TOO_MANY, said, headers={"retry-after": "1"})
        self._on_their_way[key] += 1
        try:
            yield lambda size_bytes: self._arrived(key, size_bytes)
        finally:
            self._on_their_way[key] -= 1
            if not self._on_their_way[key]:
                del self._on_their_way[key]

    def _arrived(self, key: str, size_bytes: int) -> None:
        if size_bytes >= LARGE_PIECE_BYTES:
            self._requests.give_back(key)


Who = Callable[[Request], Uploader]
"""Asked in a thread, before a byte of the body is read. Raises Refused."""


def depot(settings: Settings) -> Depot:
    return Depot(
        settings.imports_folder, round(settings.upload_max_gb * 1e9), settings.uploads_open,
        timedelta(hours=settings.upload_expires_hours),
        (settings.min_free_mb << 20) + round(settings.upload_reserve_gb * 1e9), round(settings.uploads_gb * 1e9),
    )  # fmt: skip


def with_token(api: Api) -> Who:
    def who(request: Request) -> Uploader:
        caller = enter(api, request, counts=not _is_large_piece(request))
        caller.need(Act.RECORDING_IMPORT)
        place = caller.bearer.place
        embargoes = place if Act.RECORDING_EMBARGO in caller.bearer.scopes else NOWHERE
        return Uploader(f"token {caller.bearer.token_id}", caller.actor, place, embargoes)

    return who


def _is_large_piece(request: Request) -> bool:
    """Its bytes take the time that a rate would: a fast line sends many a second. `Pace` bounds those that bring
    nothing."""
    length = request.headers.get("content-length", "")
    return request.method == "PATCH" and length.isascii() and length.isdigit() and int(length) >= LARGE_PIECE_BYTES


def with_session(site: Site) -> Who:
    """A page's script: it bears its page's proof, so that no other site's can send in someone's name."""

    def who(request: Request) -> Uploader:
        person = site.signed_in(request)
        if person is None:
            raise Refused(Kind.LOGIN)
        if not site.is_proven(request):
            raise Refused(Kind.SCOPE, Said("The page is too old. Load it again."))
        place = scope(person.memberships, Act.RECORDING_IMPORT)
        if not (place.everything or place.institution_ids):
            raise Refused(Kind.SCOPE, Said("Your role does not allow this."))
        address = request.client.host if request.client else ""
        embargoes = scope(person.memberships, Act.RECORDING_EMBARGO)
        return Uploader(f"person {person.user_id}", Actor(person.user_id, person.name, address), place, embargoes)

    return who


class TusHeaders:
    """What every answer says."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = [(b"tus-resumable", tus.VERSION.encode()), (b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *said]
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def routes(
    path: str, engine: Engine, depot: Depot, who: Who, *, pace: Pace | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[BaseRoute]:  # fmt: skip
    """An application of its own, with its own words for errors, at an address and at those of the uploads below it."""
    door, one = _Door(engine, depot, who, pace or Pace(), now), f"{path}/{{id}}"
    methods = ["POST", "HEAD", "PATCH", "DELETE", "OPTIONS"]
    inner = [Route(path, door.answer, methods=["POST", "OPTIONS"]), Route(one, door.answer, methods=methods)]
    handlers: Mapping[Any, Any] = problems.handlers()
    app = Starlette(routes=inner, middleware=[Middleware(TusHeaders)], exception_handlers=handlers)
    return [Route(path, app), Route(one, app)]


class _Door:
    def __init__(
        self, engine: Engine, depot: Depot, who: Who, pace: Pace, now: Callable[[], datetime]
    ) -> None:  # fmt: skip
        self._engine, self._depot, self._who, self._pace, self._now = engine, depot, who, pace, now
        self._methods: Mapping[str, Callable[[Request, Uploader], Coroutine[Any, Any, Response]]] = {
            "HEAD": self._head, "PATCH": self._patch, "DELETE": self._delete,
        }  # fmt: skip

    async def answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return self._options()
        try:
            tus.check_version(request.headers)
            uploader = await run_in_threadpool(self._who, request)
            self._pace.take(uploader.key)
            if "id" not in request.path_params:
                return await run_in_threadpool(self._create, request, uploader)
            if not is_id(request.path_params["id"]):
                raise Refused(Kind.NOT_FOUND)
            act = self._methods.get(tus.method_of(request.method, request.headers))
            if act is None:
                raise Refused(Kind.METHOD)
            return await act(request, uploader)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.REQUEST_TIMEOUT)  # nobody reads it
        except TusError as error:
            raise _refused(error) from error
        except UploadRefused as error:
            raise _of_cause(error.cause) from error

    def _options(self) -> Response:
        headers = {
            "tus-version": tus.VERSION,
            "tus-extension": tus.EXTENSIONS,
            "tus-max-size": str(self._depot.max_bytes),
            "tus-checksum-algorithm": ",".join(tus.ALGORITHMS),
        }
        return Response(status_code=204, headers=headers)

    def _create(self, request: Request, uploader: Uploader) -> Response:
        size_bytes = tus.read_length(request.headers, self._depot.max_bytes)
        told = tus.read_metadata(request.headers)
        job_id, now = new_id(self._now(), secrets.token_bytes(RANDOM_BYTES)), self._now()
        with transaction(self._engine) as session:
            job = uploads.begin(
                session, self._depot, job_id, told, size_bytes, uploader.place, embargoes=uploader.embargoes,
                by=uploader.actor, now=now,
            )  # fmt: skip
        location = f"{request.url.path.rstrip('/')}/{job_id}"
        return Response(status_code=201, headers={"location": location, **_expires(job)})

    async def _head(self, request: Request, uploader: Uploader) -> Response:
        job = await run_in_threadpool(self._find, request, uploader)
        uploads.check_open(job)
        told = {"filename": job.name, "title_sw": job.title_sw, "title_en": job.title_en}
        headers = {
            "upload-offset": str(job.received_bytes),
            "upload-length": str(job.size_bytes),
            "upload-metadata": tus.write_metadata(told),
        }
        return Response(status_code=200, headers={**headers, **_expires(job)})

    async def _delete(self, request: Request, uploader: Uploader) -> Response:
        await run_in_threadpool(self._cancel, request, uploader)
        return Response(status_code=204)

    def _cancel(self, request: Request, uploader: Uploader) -> None:
        with transaction(self._engine) as session:
            job = uploads.find(session, request.path_params["id"], uploader.place, lock=True)
            if not jobs.cancel(session, job, by=uploader.actor, now=self._now()):
                raise UploadRefused(Cause.GONE)
        self._depot.discard(job.id)

    def _find(self, request: Request, uploader: Uploader) -> ImportJob:
        with transaction(self._engine) as session:
            return uploads.find(session, request.path_params["id"], uploader.place)

    async def _patch(self, request: Request, uploader: Uploader) -> Response:
        patch = tus.read_patch(request.headers)
        with self._pace.piece(uploader.key) as arrived:
            job = await self._take(request, uploader, patch)
            arrived(job.received_bytes - patch.offset)
        return Response(status_code=204, headers={"upload-offset": str(job.received_bytes), **_expires(job)})

    async def _take(self, request: Request, uploader: Uploader, patch: Patch) -> ImportJob:
        job = await run_in_threadpool(self._find, request, uploader)
        uploads.check_open(job)
        tus.check_patch(patch, job.received_bytes, job.size_bytes)  # before a file is made of what is over
        if job.state == jobs.State.UPLOADING and not self._depot.has_room(0):
            raise UploadRefused(Cause.FULL)
        with Growing(self._depot.path(job.id)) as file:
            await run_in_threadpool(file.open)
            job = await run_in_threadpool(self._find, request, uploader)
            uploads.check_open(job)
            tus.check_patch(patch, job.received_bytes, job.size_bytes)
            return await _Writing(self, request, patch, job, file).run()

    def make_safe(self, job_id: str, file: Growing) -> ImportJob:
        """In a thread: what was written is on the disk, then on record."""
        file.sync()
        with transaction(self._engine) as session:
            job = self._open_job(session, job_id)
            jobs.receive(session, job, file.at, self._now() + self._depot.expires)
        return job

    def _open_job(self, session: Session, job_id: str) -> ImportJob:
        job = jobs.find(session, job_id, lock=True)
        if job is None or job.state != jobs.State.UPLOADING:
            raise UploadRefused(Cause.GONE)
        return job


class _Writing:
    """One PATCH's body on its way into the file."""

    def __init__(self, door: _Door, request: Request, patch: Patch, job: ImportJob, file: Growing) -> None:
        self._door, self._request, self._patch, self._job, self._file = door, request, patch, job, file
        self._digest = patch.checksum.begin() if patch.checksum is not None else None
        self._safe_at = patch.offset
        self._pending = bytearray()

    async def run(self) -> ImportJob:
        """What came of a request that breaks off stays, unless a checksum was to prove it."""
        if self._job.state != jobs.State.UPLOADING:
            return self._job  # it is whole, and this asked for nothing more
        await run_in_threadpool(self._file.go_to, self._patch.offset)
        try:
            await self._read()
        except (ClientDisconnect, asyncio.CancelledError):
            if self._digest is None:
                await asyncio.shield(run_in_threadpool(self._keep))
            raise
        checksum = self._patch.checksum
        if checksum is not None and self._digest is not None and not checksum.fits(self._digest):
            await run_in_threadpool(self._file.go_to, self._patch.offset)
            raise TusError(Wrong.CHECKSUM, "Upload-Checksum")
        return await run_in_threadpool(self._door.make_safe, self._job.id, self._file)

    async def _read(self) -> None:
        pending = self._pending
        async for data in self._request.stream():
            pending += data
            if self._file.at + len(pending) > self._job.size_bytes:
                raise TusError(Wrong.LENGTH, "Content-Length")
            if len(pending) >= PIECE_BYTES:
                await run_in_threadpool(self._write)
        await run_in_threadpool(self._write)

    def _keep(self) -> None:
        self._write()
        self._door.make_safe(self._job.id, self._file)

    def _write(self) -> None:
        data = bytes(self._pending)
        self._pending.clear()
        self._file.write(data)
        if self._digest is not None:
            self._digest.update(data)
        elif self._file.at - self._safe_at >= SAFE_EVERY_BYTES and self._file.at < self._job.size_bytes:
            self._safe_at = self._file.at
            self._door.make_safe(self._job.id, self._file)


def _expires(job: ImportJob) -> dict[str, str]:
    return {} if job.expires_at is None else {"upload-expires": tus.http_date(job.expires_at.astimezone(UTC))}


def _refused(error: TusError) -> Refused:
    headers = {"tus-version": tus.VERSION} if error.wrong is Wrong.VERSION else {}
    detail = Said("The header {header} is not right.", {"header": error.header})
    return Refused(WRONG[error.wrong], detail, headers=headers)


def _of_cause(cause: Cause) -> Refused:
    if cause is Cause.EMBARGO_RIGHT:
        return Refused(Kind.SCOPE, Said("An embargo takes the right {right}.", {"right": Act.RECORDING_EMBARGO.value}))
    return invalid(FIELDS[cause]) if cause in FIELDS else Refused(CAUSES[cause])
