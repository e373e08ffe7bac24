"""The page of imports: a file sent as a form, by tus from a page, cancelled and asked for again; by whose staff."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from archive.imports import jobs
from archive.imports.kept import STAGING
from archive.imports.tables import ImportJob
from archive.imports.uploads import Depot
from archive.recordings.policy import Wish
from core.database import transaction
from core.web.assets import Assets
from core.web.site import Site
from mbashara import imports
from mbashara.api import uploads
from mbashara.settings import Settings
from mbashara.web import ROOMS, SiteDoor
from tests.live.pages_kit import Pages

PATH = "/sw/staff/imports"
FILE = {"file": ("Kikao cha kwanza.mp4", b"sio video", "video/mp4")}


CLOSED = {"embargo": "yes", "embargo_reason": "bado haijatangazwa"}
BEING_MADE = "Faili limefika. Rekodi yake inatengenezwa."


def newest(pages: Pages) -> ImportJob:
    with transaction(pages.engine) as session:
        found = session.query(ImportJob).order_by(ImportJob.created_at.desc(), ImportJob.id.desc()).first()
    assert found is not None
    return found


def test_a_file_is_sent_as_a_form_and_waits(pages: Pages, tmp_path: Path) -> None:
    admin, last = pages.signed_in(pages.world.a.admin), pages.newest_entry()
    pages.clock.forward(seconds=5)
    told = {"channel": pages.world.a.channel, "at": "2019-05-01T08:00"}
    taken = admin.post(PATH, told, files=FILE).headers["location"]
    job = newest(pages)
    assert taken == f"{PATH}?file={job.id}&told=taken"
    assert (job.state, job.title_en, job.size_bytes) == ("waiting", "Kikao cha kwanza", 9)
    assert (tmp_path / "imports" / job.id).read_bytes() == b"sio video"
    assert pages.acts(last) == ["recording.import"]
    shown = admin.get(taken).text
    assert BEING_MADE in shown and "Kikao cha kwanza.mp4, 9 B " in shown
    assert "Kikao cha kwanza" in shown and "linasubiri" in shown and f"{PATH}/{job.id}/cancel" in shown
    with transaction(pages.engine) as session:
        assert jobs.start(session, job.id) is not None
        assert jobs.note(session, job.id, 42)
    assert "asilimia 42" in admin.get(PATH).text
    with transaction(pages.engine) as session:
        jobs.fail(session, job.id, "truncated", 4000, 8000, pages.clock.now)
    assert "0:00:04 of 0:00:08 can be read" in admin.get("/en/staff/imports").text
    assert BEING_MADE not in admin.get(taken).text, "it has failed since"
    assert admin.post(f"{PATH}/{job.id}/short").headers["location"].endswith("told=short")
    assert (newest(pages).state, newest(pages).takes_short, newest(pages).attempt) == ("waiting", True, 2)
    assert admin.post(f"{PATH}/{job.id}/cancel").headers["location"].endswith("told=cancel")
    assert admin.post(f"{PATH}/{job.id}/cancel").headers["location"].endswith("told=nothing")
    assert newest(pages).state == "cancelled" and not (tmp_path / "imports" / job.id).exists()


def test_a_file_is_sent_under_embargo(pages: Pages) -> None:
    admin, last = pages.signed_in(pages.world.a.admin), pages.newest_entry()
    pages.clock.forward(seconds=5)
    admin.post(PATH, {"channel": pages.world.a.channel, **CLOSED, "embargo_until": "2099-01-01T10:00"}, files=FILE)
    job = newest(pages)
    assert jobs.embargo(job) == Wish("bado haijatangazwa", datetime(2099, 1, 1, 7, tzinfo=UTC))
    assert job.embargo_by is not None and pages.acts(last) == ["recording.import"]
    shown = admin.get(PATH).text
    assert "Ina kizuizi cha muda tangu mwanzo, hadi" in shown and "bado haijatangazwa" in shown
    admin.post(f"{PATH}/{job.id}/cancel")


def test_who_cancels_in_the_last_moment_gets_no_recording_or_is_told_that_it_is_too_late(pages: Pages) -> None:
    settings, admin = Settings(data=pages.mail.parent), pages.signed_in(pages.world.a.admin)
    for is_late in (False, True):
        pages.clock.forward(seconds=5)
        admin.post(PATH, {"channel": pages.world.a.channel}, files=FILE)
        job_id = newest(pages).id
        with transaction(pages.engine) as session:
            assert jobs.start(session, job_id) is not None
        made, whole = settings.recordings / STAGING / job_id, settings.recordings / job_id
        made.mkdir(parents=True)
        if is_late:
            assert imports.take_place(settings, pages.engine, job_id) and whole.is_dir()
        told = admin.post(f"{PATH}/{job_id}/cancel").headers["location"]
        assert told.endswith("told=nothing" if is_late else "told=cancel")
        assert imports.take_place(settings, pages.engine, job_id) is is_late, "asked again after a kill: the same"
        assert (whole.is_dir(), made.exists()) == (is_late, False)
        with transaction(pages.engine) as session:
            jobs.finish(session, job_id, None, pages.clock.now)
        assert newest(pages).state == ("done" if is_late else "cancelled")


def test_what_is_wrong_with_a_form_is_told_and_leaves_nothing(pages: Pages, tmp_path: Path) -> None:
    admin, before = pages.signed_in(pages.world.a.admin), newest(pages).id
    wrong = [
        ({"channel": pages.world.b.channel}, FILE, "Chagua chaneli."),
        ({"channel": pages.world.a.channel, "at": "jana"}, FILE, "Andika muda kama"),
        ({"channel": pages.world.a.channel}, {"file": ("x.mp4", b"", "video/mp4")}, "Chagua faili."),
        ({"channel": pages.world.a.channel, "embargo_reason": "bado"}, FILE, "Weka alama ya kizuizi cha muda pia"),
        ({"channel": pages.world.a.channel, "embargo": "yes"}, FILE, "Andika sababu ya herufi 1 hadi 1000."),
        (
            {"channel": pages.world.a.channel, **CLOSED, "embargo_until": "2020-01-01T10:00"},
            FILE,
            "lazima uwe wakati ujao",
        ),
    ]
    for told, files, words in wrong:
        answer = admin.post(PATH, told, files=files)
        assert answer.status_code == 422 and words in answer.text, words
        assert told.get("embargo_reason", "") in answer.text, "what was written is lost"
    assert newest(pages).id == before and not list((tmp_path / "imports").iterdir())
    engineer = pages.signed_in(pages.world.a.engineer)
    assert engineer.get(PATH).status_code == engineer.post(PATH, {}, files=FILE).status_code == 403


def test_a_pages_script_sends_with_its_proof_alone(pages: Pages, tmp_path: Path) -> None:
    site = Site(ROOMS, Assets(), SiteDoor(pages.engine), lambda: pages.clock.now, bytes(32))
    depot = Depot(tmp_path / "imports", 10**6, 5, timedelta(hours=1), 0, 10**9)
    routes = uploads.routes(uploads.STAFF_PATH, pages.engine, depot, uploads.with_session(site))
    admin, engineer = pages.signed_in(pages.world.a.admin), pages.signed_in(pages.world.a.engineer)
    head = {"tus-resumable": "1.0.0", "upload-length": "9", "upload-metadata": "channel YWxmYS0x"}  # alfa-1
    statuses = []
    for browser, proof in ((admin, admin.token(PATH)), (admin, ""), (engineer, engineer.token()), (None, "")):
        client = TestClient(Starlette(routes=routes), cookies=browser.client.cookies if browser else None)
        statuses.append(client.post(uploads.STAFF_PATH, headers={**head, "x-csrf": proof}).status_code)
    assert statuses == [201, 403, 403, 401]
    other = pages.signed_in(pages.world.b.admin)
    client = TestClient(Starlette(routes=routes), cookies=other.client.cookies)
    one = f"{uploads.STAFF_PATH}/{newest(pages).id}"
    asked = {"tus-resumable": "1.0.0", "x-csrf": other.token(PATH)}
    assert [client.head(one, headers=asked).status_code, client.delete(one, headers=asked).status_code] == [404, 404]
