"""The archive's pages on a real database: what a file is that someone has, what archivists see, and who may not."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from archive.recordings import overview, policy, resolve, statement_pdf
from archive.recordings.resolve_plan import Entry, Plan
from archive.recordings.statement_pdf import render_pdf
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import Finding
from core.audit import COMMAND_LINE, Actor
from core.database import transaction
from core.tables import Recording, SigningKey
from core.web.i18n import Language
from mbashara.notary import Notary
from mbashara.settings import Settings
from tests.live.pages_kit import EXPORT, EXPORT_SHA256, ROOT, Browser, Pages
from tests.live.staff_kit import BY, NOW
from tests.unit.recording_kit import is_genuine


def send(browser: Browser, path: str, data: bytes, name: str = "x.mp4") -> tuple[int, str]:
    """As a browser without scripts does; the page that comes of it."""
    answer = browser.client.post(path, files={"file": (name, io.BytesIO(data), "video/mp4")})
    if answer.status_code == 303:
        answer = browser.get(answer.headers["location"])
    return answer.status_code, answer.text


def test_what_someone_has_is_told_apart(pages: Pages) -> None:
    stranger, b, a = pages.browser(), pages.world.b, pages.world.a
    folder = pages.mail.parent / "recordings" / b.recording_id
    segment = (folder / "source" / "2.m4s").read_bytes()
    proof, other = f"/en/recordings/{b.recording_id}/verify", f"/en/recordings/{a.recording_id}/verify"
    cases = [
        (proof, segment, ['data-answer="segment"', "segment 2", "(source/2.m4s)", "11:00:08 – 11:00:12"]),
        (proof, segment[:-1] + b"?", ['data-answer="unknown"', "no file of this recording", "WhatsApp"]),
        ("/en/verify", segment, ['data-answer="unknown"', "is found out on that recording"]),
        (proof, EXPORT, ['data-answer="export"', "Sitting beta", "11:00:04 – 11:00:08"]),
        (other, EXPORT, ['data-answer="export"', f"/en/recordings/{b.recording_id}"]),
        ("/en/verify", EXPORT, ['data-answer="export"', "Sitting beta"]),
        ("/en/verify", EXPORT + b"!", ['data-answer="unknown"']),
        ("/sw/verify", b"", ["Chagua faili."]),
    ]
    for path, data, words in cases:
        status, page = send(stranger, path, data)
        assert status == (200 if data else 422), (path, words)
        assert [word for word in words if word not in page] == [], path
    by_hash = stranger.get(f"{proof}?sha256={hashlib.sha256(segment).hexdigest()}")
    assert 'data-answer="segment"' in by_hash.text and "max-age" in by_hash.headers["cache-control"]
    assert stranger.get("/en/verify?sha256=zz").status_code == 400
    assert stranger.get(f"/en/verify?sha256={EXPORT_SHA256}").headers["location"].startswith(proof)
    assert stranger.client.post(proof, content=b"x", headers={"content-type": "text/plain"}).status_code == 400


def test_the_papers_are_checked_off_line_and_name_nobody(pages: Pages, tmp_path: Path) -> None:
    stranger, b = pages.browser(), pages.world.b
    proof = f"/sw/recordings/{b.recording_id}/verify"
    there = tmp_path / "downloads"
    there.mkdir()
    for path in (f"{proof}/ledger.jsonl", f"{proof}/signatures.jsonl", "/keys.json", "/verify.py"):
        answer = stranger.get(path)
        assert answer.status_code == 200, path
        (there / path.rpartition("/")[2]).write_bytes(answer.content)
    line = [sys.executable, "-I", "verify.py", "ledger.jsonl", "--no-media", "--lang", "en"]
    said = subprocess.run(line, cwd=there, capture_output=True, text=True)
    assert said.returncode == 0 and "THE LEDGER IS WHOLE" in said.stdout, said.stdout
    ledger = there / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"msn":2', b'"msn":7', 1))
    assert subprocess.run(line, cwd=there, capture_output=True).returncode == 1
    public = stranger.get(proof).text
    assert "Asha Siri" not in public and "dodoma" not in public, "no staff, no places"
    for name in ("custody.jsonl", "index.m3u8", "..%2Fledger.jsonl"):
        assert stranger.get(f"{proof}/{name}").status_code == 404
    shown = stranger.get(f"/sw/recordings/{b.recording_id}/statement")
    assert shown.status_code == 200 and shown.text.count("url(#hatch)") == 1 and "dodoma" not in shown.text
    document = stranger.get(f"/sw/recordings/{b.recording_id}/statement/statement.json").json()
    keys = {one["id"] for one in json.loads(stranger.get("/keys.json").text)["keys"]}
    assert is_genuine(document) and document["signature"]["id"] in keys
    again = stranger.get(f"/sw/recordings/{b.recording_id}/statement/statement.json").json()
    assert again == document, "who reloads has nothing signed"
    assert stranger.get(f"/en/recordings/{b.recording_id}/statement/statement.pdf").content.startswith(b"%PDF")


def test_a_key_of_another_platform_is_not_told_as_one_that_was_in_use_here(pages: Pages) -> None:
    """A recording that was taken over brings the keys that signed it."""
    stranger, words = pages.browser(), "Its private half is not here"
    with transaction(pages.engine) as session:
        session.execute(update(SigningKey).values(retired_at=NOW))
    assert words not in stranger.get("/en/keys").text
    secrets = Settings(data=pages.mail.parent).signing_keys
    for path in secrets.glob("*.pem"):
        path.rename(path.with_suffix(".away"))
    told = stranger.get("/en/keys").text
    assert told.count(words) == told.count("Seen in use") == 2


def test_a_statement_is_printed_once_however_it_is_asked_for(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[Language] = []

    def render(document: Mapping[str, Any], language: Language) -> bytes:
        printed.append(language)
        return render_pdf(document, language)

    monkeypatch.setattr(statement_pdf, "render_pdf", render)
    stranger, path = pages.browser(), f"recordings/{pages.world.b.recording_id}/statement/statement.pdf"
    asked = [f"/en/{path}", f"/en/{path}?a=1", f"/en/{path}?a=2", f"/sw/{path}"]
    told = [stranger.get(one).content for one in asked]
    assert told[0] == told[1] == told[2] != told[3] and printed == ["en", "sw"]


def test_nothing_is_stated_of_papers_that_are_not_what_they_were(pages: Pages) -> None:
    """Of those cut back to an earlier signature that still proves itself too: the database remembers more."""
    a, folder = pages.world.a, pages.mail.parent / "recordings" / pages.world.a.recording_id
    admin, stranger, newest = pages.signed_in(a.admin), pages.browser(), pages.newest_entry()
    public, staff = (f"/en/{area}recordings/{a.recording_id}/statement" for area in ("", "staff/"))
    assert [one.get(path).status_code for one, path in ((stranger, public), (admin, staff))] == [200, 200]
    ledger, custody, signatures = (folder / name for name in ("ledger.jsonl", "custody.jsonl", "signatures.jsonl"))
    whole = ledger.read_bytes()
    ledger.write_bytes(whole.replace(b'"msn":2', b'"msn":7', 1))
    for visitor, path in ((stranger, public), (admin, staff)):
        for file in ("", "/statement.json", "/statement.pdf"):
            refused = visitor.get(path + file)
            assert refused.status_code == 409 and "ledger.jsonl" in refused.text, path + file
            assert "No statement can be signed now" in refused.text and refused.headers["cache-control"] == "no-store"
    assert "Tamko haliwezi kusainiwa" in stranger.get(public.replace("/en/", "/sw/")).text
    ledger.write_bytes(whole)
    signed = signatures.read_bytes()
    with transaction(pages.engine) as session:
        policy.place_hold(session, a.institution_id, a.recording_id, "kesi", by=BY, now=NOW)
    Notary(Settings(data=pages.mail.parent), pages.engine).sign_due()
    assert stranger.get(public).status_code == 200, "signed anew, to its end"
    custody.write_bytes(b"".join(custody.read_bytes().splitlines(keepends=True)[:-1]))
    signatures.write_bytes(signed)
    refused = stranger.get(public)
    assert refused.status_code == 409 and "database" in refused.text
    assert "recording.statement" not in pages.acts(newest)


def test_on_the_air_one_statement_stands_for_a_while_however_the_papers_grow(pages: Pages) -> None:
    a, folder = pages.world.a, pages.mail.parent / "recordings" / pages.world.a.recording_id
    path = f"/en/recordings/{a.recording_id}/statement/statement.json"
    with transaction(pages.engine) as session:
        session.execute(update(Recording).where(Recording.id == a.recording_id).values(state="recording"))
    stranger = pages.browser()
    first = stranger.get(path).json()
    with (folder / "signatures.jsonl").open("rb+") as file:
        os.utime(file.fileno())
    pages.clock.forward(seconds=20)
    assert stranger.get(f"{path}?anew=1").json() == first, "whoever asks"
    pages.clock.forward(seconds=20)
    assert stranger.get(path).json() != first


def test_an_archivist_sees_what_is_not_safe(pages: Pages) -> None:
    root, b = pages.signed_in(ROOT), pages.world.b
    seen = root.get("/en/staff/archive").text
    assert "The copy at dodoma is faulty" in seen and "a file was changed" in seen and "Only 1 copy is whole" in seen
    listed = root.get("/en/staff/recordings?shown=faulty&words=Sitting%20b").text
    assert "Sitting beta" in listed and "Sitting alfa" not in listed and "dodoma: faulty" in listed
    for query in (
        "shown=safe",
        "words=%25",
        "since=2026-11-24",
        "until=2026-11-20",
        f"channel={pages.world.a.channel}",
    ):
        assert "Sitting beta" not in root.get(f"/en/staff/recordings?{query}").text, query
    with transaction(pages.engine) as session:
        noted = update(RecordingCopy).where(
            RecordingCopy.fault.is_not(None), RecordingCopy.recording_id == b.recording_id
        )
        session.execute(noted.values(fault=Finding("no_good_copy", {"file": "source/1.m4s"}).text(), attempts=3))
    for path in ("archive", f"recordings/{b.recording_id}", f"recordings/{b.recording_id}/copies/dodoma"):
        told = root.get(f"/sw/staff/{path}").text
        assert "Faili source/1.m4s: hakuna nakala inayolingana na leja" in told and "no copy anywhere" not in told
    assert "<h1" in told and "Nakala iliyopo dodoma</h1>" in told
    assert "The copy on this machine</h1>" in root.get(f"/en/staff/recordings/{b.recording_id}/copies/local").text
    one = root.get(f"/en/staff/recordings/{b.recording_id}").text
    assert "It is tried again at " in one and "Asha Siri" in one and "exported" in one and "24" in one
    newest = pages.newest_entry()
    asked = root.post(f"/en/staff/recordings/{b.recording_id}/check", {"what": "copies"})
    assert asked.headers["location"].endswith("told=asked") and pages.acts(newest) == ["recording.check"]
    with transaction(pages.engine) as session:
        due = session.scalars(select(RecordingCopy.next_check_at).where(RecordingCopy.recording_id == b.recording_id))
        assert set(due) == {pages.clock.now}
        session.execute(update(RecordingCopy).values(state="whole", fault=None))
        session.execute(update(RecordingCopy).values(attempts=1, fault="it hangs"))
    late = pages.signed_in(ROOT).get("/en/staff/archive").text
    assert "dodoma did not take a copy just now" in late and "it hangs" in late and "as it should be" not in late
    with transaction(pages.engine) as session:
        session.execute(update(RecordingCopy).values(attempts=0, fault=None))
    pages.clock.forward(days=2)
    late = pages.signed_in(ROOT).get("/en/staff/archive").text
    assert "is faulty" not in late and "should have been read again more than a day ago" in late
    safe, file = "/en/staff/recordings?shown=safe", pages.mail.parent / "locations.toml"
    assert "Sitting beta" in pages.signed_in(ROOT).get(safe).text
    kept = "<dt>Copies that are whole</dt><dd>{}</dd>"
    assert kept.format(2) in pages.browser().get(f"/en/recordings/{b.recording_id}/verify").text
    file.rename(file.with_suffix(".away"))
    assert kept.format(1) in pages.browser().get(f"/en/recordings/{b.recording_id}/verify").text
    stated = pages.signed_in(ROOT).get(f"/en/staff/recordings/{b.recording_id}/statement").text
    assert "dodoma" not in stated, "what nobody reads any more is not stated"
    late = pages.signed_in(ROOT).get("/en/staff/archive").text
    assert "dodoma is no longer in locations.toml, and 2 copies are there" in late and "Only 1 copy is whole" in late
    assert "copies at dodoma should" not in late and "Sitting beta" not in pages.signed_in(ROOT).get(safe).text
    file.write_text("[[location]")
    late = pages.signed_in(ROOT).get("/en/staff/archive").text
    assert "(locations.toml) can" in late and "not TOML" in late and "Only 1 copy" not in late


def test_an_archivist_sees_that_time_stamps_are_waited_for(pages: Pages) -> None:
    """Of an authority that is set; what it says stands in the log."""
    waits = "2 recordings wait for their time stamps"
    with transaction(pages.engine) as session:
        session.execute(update(Recording).values(signed_at=pages.clock.now))
    assert waits not in pages.signed_in(ROOT).get("/en/staff/archive").text
    pages.clock.forward(minutes=11)
    assert waits in pages.signed_in(ROOT).get("/en/staff/archive").text
    with transaction(pages.engine) as session:
        session.execute(update(Recording).values(stamped_bytes=Recording.signed_bytes))
    assert waits not in pages.signed_in(ROOT).get("/en/staff/archive").text


def test_what_contradicts_itself_is_shown_with_what_a_person_can_do(pages: Pages) -> None:
    b = pages.world.b
    admin, page = pages.signed_in(b.admin), f"/en/staff/recordings/{b.recording_id}/copies/dodoma"
    with transaction(pages.engine) as session:
        session.execute(update(Recording).where(Recording.id == b.recording_id).values(described_event_id=1))
    admin.post(f"{page}/plan")
    ledger = {
        "location": "local", "away": None, "is_authentic": True, "bytes": 4000, "lines": 20, "head": "ab" * 32,
        "signed_at": "2026-11-24T07:00:00.000+00:00", "key": "cd" * 8,
    }  # fmt: skip
    plan = Plan(
        hold=Entry("", "diverged", {"location": "local", "other": "dodoma"}),
        ledgers=(ledger, {**ledger, "location": "dodoma", "head": "ef" * 32}),
        aside=(Entry("ledger.jsonl", "set_aside", {"file": "ledger.jsonl", "kept": ".aside/x"}, "0a" * 32, 7),),
    )
    with transaction(pages.engine) as session:
        (turn,) = resolve.due(session, pages.clock.now)
        resolve.note_plan(session, turn, plan)
    for language, words in (("en", "Last signed 24 November 2026"), ("sw", "agiza hilo hapa chini")):
        shown = admin.get(page.replace("/en/", f"/{language}/")).text
        assert words in shown and "ab" * 32 in shown and "ef" * 32 in shown and ".aside/x" in shown
    request = re.findall(r'name="request" value="(\d+)"', shown)[0]
    assert admin.post(f"{page}/order", {"request": request, "reason": "ni ya mashine hii"}).status_code == 303
    with transaction(pages.engine) as session:
        told = overview.events(session, b.recording_id, limit=1)[0][1]
    assert told["aside"][0] == {"name": "ledger.jsonl", "kept": ".aside/x", "sha256": "0a" * 32, "size_bytes": 7}


def test_a_copy_is_put_in_order_as_it_was_shown(pages: Pages) -> None:
    b = pages.world.b
    admin, engineer = pages.signed_in(b.admin), pages.signed_in(b.engineer)
    page = f"/en/staff/recordings/{b.recording_id}/copies/dodoma"
    assert page in admin.get(f"/en/staff/recordings/{b.recording_id}").text
    assert "still on the air" in admin.post(f"{page}/plan").text, "not while it is not closed"
    with transaction(pages.engine) as session:
        session.execute(update(Recording).where(Recording.id == b.recording_id).values(described_event_id=1))
    newest = pages.newest_entry()
    assert admin.post(f"{page}/plan").status_code == 303 and "Every copy is being read" in admin.get(page).text
    missing, strange = ({"file": f"source/{one}", "time": "11:00:08"} for one in ("3.m4s", "x.txt"))
    plan = Plan(
        removed=(Entry("source/x.txt", "unlisted", strange, "0a" * 32, 7),),
        lost=(Entry("source/3.m4s", "missing", missing, "1b" * 32, 900),),
    )
    with transaction(pages.engine) as session:
        (turn,) = resolve.due(session, pages.clock.now)
        resolve.note_plan(session, turn, plan)
    shown = admin.get(page).text
    for words in ("Will be removed for good (1)", "source/x.txt", "0a" * 32, "Stays lost, and becomes a gap (1)"):
        assert words in shown, words
    number = {"request": str(turn.resolution_id)}
    assert "Order exactly this" not in engineer.get(page).text
    assert engineer.post(f"{page}/order", {**number, "reason": "x"}).status_code == 403
    assert admin.post(f"{page}/order", number).status_code == 422, "without a reason"
    assert admin.client.post(f"{page}/order", data={**number, "reason": "x"}).status_code == 403, "without the token"
    assert admin.post(f"{page}/order", {**number, "reason": "imekaguliwa"}).status_code == 303
    assert admin.post(f"{page}/order", {**number, "reason": "tena"}).status_code == 422, "once is enough"
    assert pages.acts(newest) == ["recording.resolve_plan", "recording.resolve"]
    assert "is being carried out" in admin.get(page).text


def test_an_engineer_reads_and_does_not_ask(pages: Pages) -> None:
    engineer, own, other = pages.signed_in(pages.world.a.engineer), pages.world.a, pages.world.b
    assert "Soma nakala zote" not in engineer.get(f"/sw/staff/recordings/{own.recording_id}").text
    assert engineer.post(f"/sw/staff/recordings/{own.recording_id}/check", {"what": "copies"}).status_code == 403
    assert engineer.get(f"/sw/staff/recordings/{other.recording_id}").status_code == 404
    for path in ("archive", "recordings"):
        shown = engineer.get(f"/sw/staff/{path}").text
        assert "Kikao beta" not in shown and "Kikao alfa" in shown


def test_whoever_watches_what_is_closed_is_on_record_once(pages: Pages) -> None:
    a = pages.world.a
    media, page = f"/sw/staff/recordings/{a.recording_id}/media", f"/sw/staff/recordings/{a.recording_id}"
    b, stranger = pages.world.b, pages.browser()
    engineer, admin, other = (pages.signed_in(one) for one in (a.engineer, a.admin, b.admin))
    newest = pages.newest_entry()
    assert engineer.get(f"{media}/index.m3u8").status_code == 200 and pages.acts(newest) == [], "it is open"
    assert f'data-src="/recordings/{a.recording_id}/index.m3u8"' in engineer.get(page).text
    with transaction(pages.engine) as session:
        policy.place_embargo(session, a.institution_id, a.recording_id, "bado", None, by=BY, now=NOW)
    newest = pages.newest_entry()
    for name in ("index.m3u8", "source/index.m3u8", "source/init-0.mp4", "source/0.m4s", "source/0.m4s"):
        allowed = engineer.get(f"{media}/{name}")
        assert allowed.headers["x-accel-redirect"] == f"/_recordings/{a.recording_id}/{name}"
        assert allowed.headers["cache-control"] == "private, no-store"
    assert f'data-src="{media}/index.m3u8"' in engineer.get(page).text
    assert pages.acts(newest) == ["recording.watch"]
    admin.get(f"{media}/source/0.m4s")
    assert pages.acts(newest) == ["recording.watch", "recording.watch"], "each person's start, from whatever file"
    assert [one.get(f"{media}/source/0.m4s").status_code for one in (other, stranger)] == [404, 303]
    for language, said in (("sw", "Haijafunguliwa kwa umma"), ("en", "not open to the public")):
        refused = stranger.get(f"/{language}/recordings/{a.recording_id}/verify")
        assert refused.status_code == 403 and said in refused.text and "Akaunti yako" not in refused.text
    with transaction(pages.engine) as session:
        session.get_one(Recording, a.recording_id).disposed_at = NOW
    assert engineer.get(f"{media}/source/0.m4s").status_code == 410
    assert "data-src" not in engineer.get(page).text and len(pages.acts(newest)) == 2


def test_rules_are_set_and_told_on_their_page(pages: Pages) -> None:
    a = pages.world.a
    admin, stranger = pages.signed_in(a.admin), pages.browser()
    rules, newest = f"/en/staff/recordings/{a.recording_id}/rules", pages.newest_entry()
    (pages.mail.parent / "public" / "closed").mkdir(parents=True, exist_ok=True)
    (pages.mail.parent / "public" / "gone").mkdir(exist_ok=True)
    assert "Give a reason" in admin.post(f"{rules}/hold").text
    assert admin.post(f"{rules}/hold", {"reason": "Case 12 of 2026"}).status_code == 303
    shown = admin.get(rules).text
    assert "Case 12 of 2026" in shown and "A legal hold stands" in shown and "/rules/ask" not in shown
    past = admin.post(f"{rules}/embargo", {"reason": "Not yet", "until": "2026-11-01T10:00"})
    assert past.status_code == 422 and "must lie in the future" in past.text
    assert admin.post(f"{rules}/embargo", {"reason": "Not yet", "until": "2026-12-24T10:00"}).status_code == 303
    audit = admin.get(f"/sw/staff/audit?subject=recording:{a.recording_id}").text
    assert "24 Desemba 2026, saa 4:00 asubuhi (10:00), saa za Afrika Mashariki" in audit
    proof = f"/en/recordings/{a.recording_id}/verify"
    assert [stranger.get(path).status_code for path in (proof, f"{proof}/ledger.jsonl")] == [403, 403]
    assert "closed until 24 December 2026, 10:00 EAT" in admin.get(rules).text and "Until, East Africa Time" in shown
    swahili = admin.get(rules.replace("/en/", "/sw/")).text
    assert "(10:00), saa za Afrika Mashariki" in swahili and "Hadi, kwa saa za Afrika Mashariki" in swahili
    assert admin.post(f"{rules}/publish", {"reason": "It is time"}).status_code == 303
    public = stranger.get(proof).text
    assert "Case 12" not in public and "hold placed" not in public
    assert pages.acts(newest) == ["recording.hold", "recording.embargo", "recording.publish"]
    assert admin.post(f"{rules}/approve", {"request": "1"}).status_code == 422
    with transaction(pages.engine) as session:
        juma = Actor(None, f"{COMMAND_LINE} (juma)")
        policy.place_hold(session, a.institution_id, a.recording_id, "kesi", by=juma, now=NOW)
    for page in ("", "/rules"):
        shown = admin.get(f"/sw/staff/recordings/{a.recording_id}{page}").text
        assert "mstari wa amri (juma)" in shown and "command line" not in shown
