"""The pages of exports: asking, fetching and cancelling one, nothing across institutions; and what the disk keeps."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from archive.exports import jobs
from archive.exports.jobs import MAX_UNDER_WAY
from archive.exports.tables import ExportJob
from archive.recordings.custody import events
from core.audit import Actor
from core.database import transaction
from core.staff.tables import AuditEntry
from core.tables import Recording
from mbashara.exports import tidy
from mbashara.settings import Settings
from tests.live.pages_kit import MOVING, Pages
from tests.live.staff_kit import NOW

LIST = "/sw/staff/exports"


def asked(pages: Pages) -> ExportJob:
    """The newest."""
    with transaction(pages.engine) as session:
        return session.scalars(select(ExportJob).order_by(ExportJob.id.desc()).limit(1)).one()


def fields(pages: Pages, **more: str) -> dict[str, str]:
    return {"recording": pages.world.a.recording_id, "format": "mp4", **more}


def test_an_export_is_asked_for_and_cancelled(pages: Pages) -> None:
    admin, newest = pages.signed_in(pages.world.a.admin), pages.newest_entry()
    assert pages.world.a.recording_id in admin.get(LIST).text
    form = admin.get(f"{LIST}/new?recording={pages.world.a.recording_id}").text
    assert "2026-11-28 11:00:00" in form, "when it began, on the clock of East Africa"
    sent = fields(pages, begins="00:00:10", ends="2026-11-28 11:00:20", format="m4a")
    assert admin.post(f"{LIST}/new", sent).headers["location"] == f"{LIST}?told=asked"
    job = asked(pages)
    assert (job.state, job.format, job.from_ms, job.to_ms, job.agent) == ("waiting", "m4a", 10_000, 20_000, "staff")
    assert "Sauti pekee (M4A)" in admin.get(LIST).text and "data-under-way" in admin.get(LIST).text
    assert admin.post(f"{LIST}/{job.id}/cancel").headers["location"] == f"{LIST}?told=cancel"
    assert admin.post(f"{LIST}/{job.id}/cancel").headers["location"] == f"{LIST}?told=nothing"
    assert asked(pages).state == "cancelled"
    assert pages.acts(newest) == ["recording.export_ask", "recording.export_cancel"]
    with transaction(pages.engine) as session:
        assert not jobs.finish(session, job.id, job.files, "source", NOW, timedelta(days=1)), "it came too late"


@pytest.mark.parametrize(
    "wrong",
    [{"begins": "kesho"}, {"begins": "20", "ends": "10"}, {"begins": "2:00:00"}, {"format": "avi"}, {"ends": "0"}],
)
def test_what_was_entered_wrongly_is_told_and_kept(pages: Pages, wrong: dict[str, str]) -> None:
    admin = pages.signed_in(pages.world.a.admin)
    before = pages.rows(*MOVING)
    answer = admin.post(f"{LIST}/new", fields(pages, **wrong))
    assert answer.status_code == 422 and "govuk-error-summary" in answer.text
    assert pages.rows(*MOVING) == before


def test_an_institution_has_so_many_at_most(pages: Pages) -> None:
    admin = pages.signed_in(pages.world.a.admin)
    for _ in range(MAX_UNDER_WAY):
        assert admin.post(f"{LIST}/new", fields(pages)).status_code == 303
    refused = admin.post(f"{LIST}/new", fields(pages))
    assert refused.status_code == 422 and "Subiri moja" in refused.text


def test_what_was_destroyed_by_order_is_not_offered_and_is_refused_at_once(pages: Pages) -> None:
    admin, newest = pages.signed_in(pages.world.a.admin), pages.newest_entry()
    recording_id = pages.world.a.recording_id
    address = f"{LIST}/new?recording={recording_id}"
    assert address in admin.get(LIST).text
    with transaction(pages.engine) as session:
        session.get_one(Recording, recording_id).disposed_at = NOW
    assert address not in admin.get(LIST).text
    said = "Rekodi hii imeteketezwa kwa amri."
    for form in ("mp4", "m4a", "bag"):
        refused = admin.post(f"{LIST}/new", fields(pages, format=form))
        assert (refused.status_code, said in refused.text) == (410, True)
    shown = admin.get(address)
    assert (shown.status_code, said in shown.text, 'name="format"' in shown.text) == (410, True, False)
    assert pages.acts(newest) == []


def test_files_go_to_those_who_may_have_them(pages: Pages) -> None:
    b = pages.world.b
    owner, engineer, other = (pages.signed_in(one) for one in (b.admin, b.engineer, pages.world.a.admin))
    address, newest = f"{LIST}/{b.export_id}/files/1", pages.newest_entry()
    answer = owner.get(address)
    assert answer.headers["x-accel-redirect"] == f"/_exports/{b.export_id}/faili.mp4"
    assert answer.headers["content-disposition"] == 'attachment; filename="faili.mp4"'
    assert owner.get(address, headers={"range": "bytes=3-"}).status_code == 200
    assert pages.acts(newest) == ["recording.export_fetch"], "who goes on is not noted again"
    assert [engineer.get(path).status_code for path in (address, LIST)] == [403, 403]
    assert other.get(address).status_code == 404
    assert owner.get(f"{LIST}/{b.export_id}/files/2").status_code == 404
    assert other.post(f"{LIST}/new", fields(pages, recording=b.recording_id)).status_code == 404


def test_what_is_done_is_in_the_custody_log_and_goes_from_the_disk_in_time(pages: Pages) -> None:
    settings = Settings(data=pages.mail.parent, run_dir=pages.mail.parent / "run")
    a, file = pages.world.a, {"name": "a.mp4", "size": 6, "sha256": "1" * 64, "from_ms": 0, "to_ms": 900}
    admin = pages.signed_in(a.admin)
    admin.post(f"{LIST}/new", fields(pages))
    job_id = asked(pages).id
    for name in (job_id, f"{job_id}.making", "01jdx0000000000000000none0"):
        (settings.exports_folder / name).mkdir()
    with transaction(pages.engine) as session:
        assert jobs.start(session, job_id, NOW) is not None
        assert jobs.finish(session, job_id, [file], "source", NOW, timedelta(days=30_000))
        assert not jobs.finish(session, job_id, [file], "source", NOW, timedelta(days=30_000)), "once"
    with transaction(pages.engine) as session:
        event = next(one for one in events(session, a.recording_id) if "1" * 64 in one.line)
        assert '"sha256":"' + "1" * 64 in event.line and '"c2pa":true' in event.line and "admin@" not in event.line
        entry = session.scalars(select(AuditEntry).where(AuditEntry.act == "recording.export")).one()
        assert (entry.user_id, entry.institution_id) == (a.admin_id, a.institution_id)
    tidy(settings, pages.engine)
    assert {one.name for one in settings.exports_folder.iterdir()} == {
        job_id, f"{job_id}.making", pages.world.b.export_id,
    }  # fmt: skip
    with transaction(pages.engine) as session:
        session.get_one(ExportJob, job_id).expires_at = NOW - timedelta(days=3000)
    tidy(settings, pages.engine)
    assert [one.name for one in settings.exports_folder.iterdir()] == [pages.world.b.export_id]
    shown = admin.get(LIST).text
    assert "mafaili yameondolewa" in shown and f"{job_id}/files" not in shown


def test_one_that_was_postponed_waits_again(pages: Pages) -> None:
    with transaction(pages.engine) as session:
        recording = jobs.find(session, pages.world.a.export_id)
        assert recording is not None and jobs.waiting(session) == []
        assert not jobs.cancel(session, recording, by=Actor(None, "x"), now=NOW), "it is done"
    pages.signed_in(pages.world.a.admin).post(f"{LIST}/new", fields(pages))
    job_id = asked(pages).id
    with transaction(pages.engine) as session:
        assert jobs.start(session, job_id, NOW) is not None and jobs.note(session, job_id, 40)
        jobs.postpone(session, job_id)
        assert [tuple(row) for row in jobs.waiting(session)] == [(job_id, 2)]
        jobs.fail(session, job_id, "fault", "", NOW)
        assert jobs.find(session, job_id).state == "waiting", "only what runs can fail"  # type: ignore[union-attr]
