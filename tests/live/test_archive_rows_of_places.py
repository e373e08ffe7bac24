"""The archive's pages where a place of copies was forgotten: whoever approves a disposal sees what it leaves there."""

import json

from sqlalchemy import update

from archive.recordings import custody, disposal, policy, retired
from archive.recordings.policy_tables import RetentionPromise
from archive.recordings.tables import RecordingCopy
from core.audit import Actor
from core.database import transaction
from core.tables import Recording
from tests.live.pages_kit import ROOT, Pages
from tests.live.staff_kit import BY, NOW


def test_a_disposal_is_not_approved_before_it_was_said_what_it_does_not_reach(pages: Pages) -> None:
    b = pages.world.b
    rules = f"/en/staff/recordings/{b.recording_id}/rules"
    with transaction(pages.engine) as session:
        policy.promise(session, b.recording_id, NOW)
        session.execute(update(RetentionPromise).values(until=NOW))
        policy.set_rule(session, b.institution_id, None, 1, by=BY, now=NOW)
        session.execute(update(Recording).values(ended_at=NOW.replace(year=2020), described_event_id=1))
        asker = Actor(b.admin_id, "Asha")
        asked = disposal.ask(session, b.institution_id, b.recording_id, "imekwisha", by=asker, now=NOW).id
        retired.forget(session, "dodoma", ["local"], "imefungwa", even_so=True, by=BY, now=NOW)
    root = pages.signed_in(ROOT)
    page = root.get(rules).text
    assert "Out of reach" in page and "dodoma" in page and 'name="knowing" value="dodoma"' in page
    blind = root.post(f"{rules}/approve", {"request": str(asked)})
    assert blind.status_code == 422 and "doesn&#39;t reach it" in blind.text
    assert root.post(f"{rules}/approve", {"request": str(asked), "knowing": "dodoma"}).status_code == 303
    with transaction(pages.engine) as session:
        told = json.loads(custody.lines(session, b.recording_id)[-1])
        assert (told["act"], told["left"]) == ("approved", ["dodoma"])
        session.execute(update(Recording).where(Recording.id == b.recording_id).values(disposed_at=NOW))
        session.execute(
            update(RecordingCopy).where(RecordingCopy.recording_id == b.recording_id).values(state="disposed")
        )
    assert "it is still there" in root.get(rules).text
    assert "</strong>: dodoma" in root.get("/en/staff/disposals").text
    assert "a copy lies at dodoma, which was forgotten" in root.get("/en/staff/archive").text
    with transaction(pages.engine) as session:
        policy.place_hold(session, b.institution_id, b.recording_id, "kesi", by=BY, now=NOW)
