"""Uploads by tus 1.0.0: what the protocol says of each request, and who may send, continue or end one."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text
from starlette.applications import Starlette
from starlette.testclient import TestClient

from archive.imports import jobs
from archive.imports.tables import ImportJob
from archive.imports.uploads import LOCK, Depot, Growing
from archive.recordings.policy import Wish
from core.channels import add_channel
from core.database import transaction
from core.staff.permissions import Act
from core.tables import Institution
from core.web.limits import Rate
from mbashara.api import uploads
from mbashara.api.uploads import Pace
from tests.live import api_kit, staff_kit
from tests.live.api_kit import UNLIMITED, Stage
from tests.live.staff_kit import NOW, PEPPER
from tests.up import Up

TUS = {"tus-resumable": "1.0.0"}
PIECE = {**TUS, "content-type": "application/offset+octet-stream"}
MEDIA = bytes(range(256)) * 40
HOURS = 48


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with staff_kit.database(mbashara_up, "uploads_test") as engine:
        with transaction(engine) as session:
            for slug in ("alfa", "beta"):
                staff_kit.added(session, slug)
                names = {"name_sw": slug, "name_en": slug}
                add_channel(session, f"{slug}-1", **names, pepper=PEPPER, now=NOW, institution=slug)
        yield engine


class Sender:
    """A program with a token, at the door of /api/v1/uploads."""

    def __init__(
        self, engine: Engine, depot: Depot, name: str, place: str, *scopes: str, rate: Rate = UNLIMITED,
        pace: Pace | None = None,
    ) -> None:  # fmt: skip
        self.stage = Stage(engine, token_rate=rate)
        with transaction(engine) as session:
            owner = session.query(Institution).filter_by(slug=place).one()
        self.token = api_kit.token(engine, name, owner.id, frozenset(scopes or (Act.RECORDING_IMPORT,)))
        who, pace = uploads.with_token(self.stage.api.state.api), pace or Pace(UNLIMITED)
        routes = uploads.routes(uploads.API_PATH, engine, depot, who, pace=pace, now=lambda: self.stage.now)
        self.app = Starlette(routes=routes)
        self.client = TestClient(self.app, headers={"authorization": f"Bearer {self.token}"})

    def ask(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> httpx.Response:
        answer: httpx.Response = self.client.request(method, url, headers=headers, content=body)
        return answer

    def create(self, size: int = len(MEDIA), **told: str) -> httpx.Response:
        told = {"channel": "alfa-1", "filename": "kikao.mp4", **told}
        metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items())
        headers = {**TUS, "upload-length": str(size), "upload-metadata": metadata}
        return self.ask("POST", uploads.API_PATH, headers)

    def created(self, **told: str) -> str:
        answer = self.create(len(MEDIA), **told)
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]

    def send(self, url: str, at: int, data: bytes, **more: str) -> httpx.Response:
        return self.ask("PATCH", url, {**PIECE, "upload-offset": str(at), **more}, data)

    def offset(self, url: str) -> int:
        answer = self.ask("HEAD", url, TUS)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        return int(answer.headers["upload-offset"])

    def state(self, url: str) -> str:
        with transaction(self.stage.engine) as session:
            job = jobs.find(session, url.rpartition("/")[2])
            assert job is not None
            return job.state


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(tmp_path, 1_000_000, 3, timedelta(hours=HOURS), 0, 10**9)


@pytest.fixture(autouse=True)
def forgotten(engine: Engine) -> Iterator[None]:
    """Uploads that a test leaves."""
    yield
    with transaction(engine) as session:
        session.query(ImportJob).delete()


@pytest.fixture
def sender(engine: Engine, depot: Depot, request: pytest.FixtureRequest) -> Sender:
    return Sender(engine, depot, f"t{abs(hash(request.node.name)) % 10**9}", "alfa", pace=Pace(UNLIMITED, at_once=2))


def checksum(algorithm: str, data: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def test_what_the_server_can(sender: Sender) -> None:
    answer = sender.client.options(uploads.API_PATH, headers={"authorization": ""})
    assert answer.status_code == 204 and answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,expiration,checksum,termination"
    assert answer.headers["tus-max-size"] == "1000000" and "sha1" in answer.headers["tus-checksum-algorithm"]


def test_in_pieces_with_checksums_to_the_queue(sender: Sender, depot: Depot) -> None:
    url = sender.created(at="2019-05-01T08:00", title_sw="Kikao cha kwanza")
    assert sender.offset(url) == 0
    first = sender.send(url, 0, MEDIA[:5000], **{"upload-checksum": checksum("sha1", MEDIA[:5000])})
    assert (first.status_code, first.headers["upload-offset"]) == (204, "5000") and "upload-expires" in first.headers
    assert sender.state(url) == "uploading"
    rest = sender.ask("POST", url, {**PIECE, "upload-offset": "5000", "x-http-method-override": "PATCH"}, MEDIA[5000:])
    assert rest.status_code == 204 and sender.state(url) == "waiting"
    assert sender.offset(url) == len(MEDIA), "who asks again is told that it is whole"
    assert depot.path(url.rpartition("/")[2]).read_bytes() == MEDIA
    with transaction(sender.stage.engine) as session:
        job = jobs.find(session, url.rpartition("/")[2])
    assert job is not None and job.origin_at is not None and job.origin_at.isoformat() == "2019-05-01T05:00:00+00:00"
    assert (job.title_sw, job.title_en) == ("Kikao cha kwanza", "Kikao cha kwanza")


def test_large_pieces_take_nothing_from_the_rate(engine: Engine, depot: Depot) -> None:
    """Eight a second of a megabyte each are no flood."""
    sender = Sender(engine, depot, "haraka", "alfa", rate=Rate(burst=3, per_s=0.1))
    large = uploads.LARGE_PIECE_BYTES
    url = sender.create(3 * large + 20).headers["location"]
    assert [sender.send(url, at * large, bytes(large)).status_code for at in range(3)] == [204] * 3
    assert [sender.send(url, 3 * large + at, b"x").status_code for at in range(3)] == [204, 204, 429]


def test_large_pieces_that_bring_nothing_are_counted(engine: Engine, depot: Depot) -> None:
    """Those that do may be as many as a line brings."""
    sender = Sender(engine, depot, "bure", "alfa", pace=Pace(Rate(burst=4, per_s=0.1)))
    large = uploads.LARGE_PIECE_BYTES
    url = sender.create(3 * large).headers["location"]
    wrong = {"upload-checksum": checksum("sha256", b"another")}
    told = [sender.send(url, 0, bytes(large), **more).status_code for more in (wrong, {}, wrong, wrong, {})]
    assert told == [460, 204, 409, 409, 429]
    other = Sender(engine, depot, "mwingine", "alfa", pace=Pace(Rate(burst=3, per_s=0.1)))
    assert [other.send(url, at * large, bytes(large)).status_code for at in (1, 2)] == [204, 204]


def test_a_sender_has_so_many_pieces_on_their_way(sender: Sender) -> None:
    """One more is told so in words; another's goes on, and when one is there the next may come."""
    urls = [sender.created() for _ in range(3)]

    async def scenario() -> None:
        begun, last, transport = asyncio.Semaphore(0), asyncio.Event(), httpx.ASGITransport(sender.app)

        async def body() -> AsyncIterator[bytes]:
            yield MEDIA[:100]
            begun.release()
            await last.wait()
            yield MEDIA[100:]

        headers = {**PIECE, "upload-offset": "0", "authorization": f"Bearer {sender.token}", "accept-language": "sw"}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            held = [asyncio.create_task(client.patch(url, content=body())) for url in urls[:2]]
            for _ in held:
                await begun.acquire()
            one_more = await client.patch(urls[2], content=MEDIA)
            assert one_more.status_code == 429 and one_more.headers["retry-after"] == "1"
            assert one_more.json()["detail"] == "Tuma vipande visivyozidi 2 kwa wakati mmoja."
            assert (await client.head(urls[2], headers=TUS)).status_code == 200
            last.set()
            assert [(await one).status_code for one in held] == [204, 204]
            assert (await client.patch(urls[2], content=MEDIA)).status_code == 204

    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_each_wrong_request_has_its_status_and_changes_nothing(sender: Sender) -> None:
    url = sender.created()
    assert sender.send(url, 0, MEDIA[:100]).status_code == 204
    wrong = [
        (sender.ask("HEAD", url, {}), 412),
        (sender.ask("HEAD", url, {"tus-resumable": "0.2.2"}), 412),
        (sender.ask("PATCH", url, {**TUS, "upload-offset": "100", "content-type": "video/mp4"}, b"x"), 415),
        (sender.send(url, 0, MEDIA[:100]), 409),
        (sender.send(url, 101, b"x"), 409),
        (sender.ask("PATCH", url, {**PIECE, "upload-offset": "-1"}, b"x"), 400),
        (sender.ask("PATCH", url, PIECE, b"x"), 400),
        (sender.send(url, 100, MEDIA + b"x"), 413),
        (sender.send(url, 100, b"xyz", **{"upload-checksum": checksum("sha256", b"xyZ")}), 460),
        (sender.send(url, 100, b"xyz", **{"upload-checksum": "crc32 AAAA"}), 400),
        (sender.send(url, 100, b"xyz", **{"upload-checksum": "sha1 ?"}), 400),
        (sender.ask("GET", url, TUS), 405),
        (sender.ask("HEAD", url[:-1] + "!", TUS), 404),
        (sender.ask("HEAD", url[:-1] + ("0" if url[-1] != "0" else "1"), TUS), 404),
        (sender.create(size=0), 400),
        (sender.create(size=1_000_001), 413),
        (sender.create(channel="hakuna"), 422),
        (sender.create(at="jana"), 422),
        (sender.create(sha256="ff"), 422),
        (sender.ask("POST", uploads.API_PATH, {**TUS, "upload-length": "5", "upload-metadata": "filename ?"}), 400),
        (sender.ask("POST", uploads.API_PATH, {**TUS, "upload-defer-length": "1"}), 400),
    ]
    for answer, status in wrong:
        assert answer.status_code == status, (answer.request.method, answer.request.headers, answer.text)
        assert answer.headers["tus-resumable"] == "1.0.0"
    assert wrong[0][0].headers["tus-version"] == "1.0.0"
    assert sender.offset(url) == 100 and sender.state(url) == "uploading"
    assert sender.send(url, 100, MEDIA[100:]).status_code == 204
    swahili = sender.ask("PATCH", url, {**PIECE, "upload-offset": "3", "accept-language": "sw"}, b"x")
    assert swahili.status_code == 409 and swahili.json()["title"] == "Utumaji umefika mahali pengine."


def test_an_embargo_takes_its_own_right_and_is_asked_for_before_a_byte_is_sent(
    engine: Engine, depot: Depot, sender: Sender
) -> None:
    closed = {"embargo": "yes", "embargo_reason": "bado", "embargo_until": "2099-01-01T10:00:00+03:00"}
    refused = sender.create(len(MEDIA), **closed)
    assert refused.status_code == 403 and "recording.embargo" in refused.json()["detail"]
    archivist = Sender(engine, depot, "archivist", "alfa", Act.RECORDING_IMPORT, Act.RECORDING_EMBARGO)
    for name, wrong in (("embargo", ""), ("embargo_reason", " "), ("embargo_until", "2020-01-01T10:00:00+03:00")):
        answer = archivist.create(len(MEDIA), **{**closed, name: wrong})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, name), answer.text
    with transaction(engine) as session:
        assert not session.query(ImportJob).count()
        job = jobs.find(session, archivist.created(**closed).rpartition("/")[2])
        assert job is not None and jobs.embargo(job) == Wish("bado", datetime(2099, 1, 1, 7, tzinfo=UTC))


def test_what_a_killed_request_left_is_written_over(sender: Sender, depot: Depot) -> None:
    url = sender.created()
    assert sender.send(url, 0, MEDIA[:100]).status_code == 204
    with depot.path(url.rpartition("/")[2]).open("ab") as file:
        file.write(b"never told to be safe")
    assert sender.offset(url) == 100
    assert sender.send(url, 100, MEDIA[100:]).status_code == 204
    assert depot.path(url.rpartition("/")[2]).read_bytes() == MEDIA


def test_one_request_at_a_time(sender: Sender, depot: Depot) -> None:
    url = sender.created()
    with Growing(depot.path(url.rpartition("/")[2])) as other:
        other.open()
        assert sender.send(url, 0, MEDIA).status_code == 423
    assert sender.send(url, 0, MEDIA).status_code == 204


def test_ended_and_expired_uploads_are_gone_with_their_files(sender: Sender, depot: Depot) -> None:
    ended, late = sender.created(), sender.created()
    for url in (ended, late):
        assert sender.send(url, 0, MEDIA[:100]).status_code == 204
    assert sender.ask("DELETE", ended, TUS).status_code == 204
    assert [sender.ask(method, ended, TUS).status_code for method in ("HEAD", "DELETE")] == [410, 410]
    assert sender.send(ended, 100, b"x").status_code == 410
    with transaction(sender.stage.engine) as session:
        jobs.expire(session, NOW + timedelta(hours=HOURS - 1), "expired")
    assert sender.offset(late) == 100
    with transaction(sender.stage.engine) as session:
        jobs.expire(session, NOW + timedelta(hours=HOURS, seconds=1), "expired")
        kept = jobs.with_file(session, os.listdir(depot.folder))
    assert sender.ask("HEAD", late, TUS).status_code == 410 and not kept
    assert not depot.path(ended.rpartition("/")[2]).exists()


def test_uploads_are_bounded_by_institution_and_disk(sender: Sender, engine: Engine, depot: Depot) -> None:
    urls = [sender.created() for _ in range(3)]
    assert sender.create().status_code == 429
    assert Sender(engine, depot, "beta-too", "beta").create(channel="beta-1").status_code == 201
    assert sender.ask("DELETE", urls[0], TUS).status_code == 204
    assert sender.create().status_code == 201
    full = Sender(engine, replace(depot, per_institution=9, min_free_bytes=1 << 62), "full", "alfa")
    assert full.create().status_code == full.send(urls[1], 0, MEDIA[:10]).status_code == 507


def test_failed_uploads_count_until_their_files_are_gone(sender: Sender, engine: Engine, depot: Depot) -> None:
    small = replace(depot, institution_bytes=3 * len(MEDIA))
    mine, other = Sender(engine, small, "mine", "alfa"), Sender(engine, small, "another", "beta")
    for _ in range(3):
        job_id = mine.created().rpartition("/")[2]
        with transaction(engine) as session:
            job = jobs.find(session, job_id)
            assert job is not None
            job.state, job.received_bytes = "running", job.size_bytes
            jobs.fail(session, job_id, "not_media", 0, 0, datetime.now(UTC))
    assert mine.create().status_code == 507
    assert other.create(channel="beta-1").status_code == 201
    with transaction(engine) as session:
        jobs.expire(session, datetime.now(UTC) + 2 * jobs.FAILED_KEPT, "expired")
    assert mine.create().status_code == 201


def test_two_institutions_do_not_both_get_the_last_room(sender: Sender, engine: Engine) -> None:
    with transaction(engine) as session, ThreadPoolExecutor(1) as pool:
        session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})  # as one that begins
        other = pool.submit(sender.create)
        with pytest.raises(TimeoutError):
            other.result(0.3)
        session.commit()
        assert other.result(5).status_code == 201


def test_another_institution_sees_continues_and_ends_nothing(sender: Sender, engine: Engine, depot: Depot) -> None:
    url = sender.created()
    other = Sender(engine, depot, "attacker", "beta")
    assert other.create(channel="alfa-1").status_code == other.create(channel="hakuna").status_code == 422
    tries = [other.ask("HEAD", url, TUS), other.ask("DELETE", url, TUS), other.send(url, 0, MEDIA)]
    assert [one.status_code for one in tries] == [404, 404, 404]
    reader = Sender(engine, depot, "reader", "alfa", "recording.read")
    assert [reader.create().status_code, reader.send(url, 0, MEDIA).status_code] == [403, 403]
    nobody = sender.client.head(url, headers={**TUS, "authorization": "Bearer mbashara_x"})
    assert nobody.status_code == 401
    assert sender.offset(url) == 0 and sender.state(url) == "uploading"


def test_the_queue_tidies_only_what_nothing_waits_for(sender: Sender, depot: Depot, engine: Engine) -> None:
    kept, gone = sender.created(), sender.created()
    for url in (kept, gone):
        sender.send(url, 0, MEDIA[:10])
    with transaction(engine) as session:
        job = jobs.find(session, gone.rpartition("/")[2], lock=True)
        assert job is not None and jobs.cancel(session, job, by=staff_kit.BY, now=NOW)
        mine = jobs.with_file(session, os.listdir(depot.folder))
    assert mine == {kept.rpartition("/")[2]}
