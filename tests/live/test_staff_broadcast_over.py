"""Broadcasts that are over, on the console without scripts: their page, and a loss that nobody has seen. And what an
engineer who misses an encoder is told of one with a key that is nobody's.

No media process runs here but where a test says so: to the console it is away, and no feed comes.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from core.broadcasts import acts
from core.broadcasts.events import add_event
from core.broadcasts.lifecycle import Act, State
from core.database import transaction
from core.tables import AlarmAcknowledgement, Broadcast
from core.web.dates import EAST_AFRICA_TIME
from core.web.http import Request, response, serve_http
from ingest.rtmp.door import PublishRequest, Refusal
from mbashara import feeds
from tests.live.pages_kit import ROOT, Pages
from tests.live.staff_kit import NOW
from tests.live.test_staff_alarms import alarms, due
from tests.unit.channel_kit import START_MS, House, house
from tests.up import until

ASKED_S, ENDED_S = 120, 132.5


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def aired(pages: Pages, is_ended: bool = True) -> str:
    """A's planned broadcast was on the air, lost its feed, and was ended; the key of its alarm."""
    a = pages.world.a
    act(pages, Act.GO_LIVE, 0)
    with transaction(pages.engine) as session:
        session.get_one(Broadcast, a.broadcast_id).started_at = at(1)
        add_event(session, a.institution_id, a.broadcast_id, at(1), "on_air")
        add_event(session, a.institution_id, a.broadcast_id, at(60), "feed_lost", cause="feed lost")
    if is_ended:
        act(pages, Act.END, ASKED_S)
        with transaction(pages.engine) as session:
            acts.close(session, session.get_one(Broadcast, a.broadcast_id), at(ENDED_S), "end")
    pages.clock.now = at(200)
    return f"alfa-1.{a.broadcast_id}.lost_to_the_end.mild"


def act(pages: Pages, wanted: Act, seconds: float) -> None:
    it, state = pages.world.a, State.SCHEDULED if wanted is Act.GO_LIVE else State.LIVE
    with transaction(pages.engine) as session:
        acts.act(
            session, it.institution_id, it.broadcast_id, wanted, at(seconds), state, actor="Juma Ali",
            randomness=bytes(10),
        )  # fmt: skip


def test_a_loss_that_nobody_saw_outlives_its_broadcast(pages: Pages) -> None:
    key = aired(pages)
    engineer, stranger = pages.signed_in(pages.world.a.engineer), pages.signed_in(pages.world.b.admin)
    page = f"/en/console/broadcasts/{pages.world.a.broadcast_id}"
    for path in ("/en/console", "/en/console/channels/alfa-1", page):
        said = alarms(engineer, path)[key]
        for words in ("▲ Attention: alfa: the feed was lost", "before the broadcast ended", "ended by Juma Ali, "):
            assert words in said, (path, words)
        assert "24 November 2026, 12:02:12 EAT" in said and f'href="{page}"' in said and "I have seen it" in said
    assert "haukurudi kabla tangazo halijamalizika" in alarms(engineer, "/sw/console")[key]
    newest = pages.newest_entry()
    assert key not in alarms(stranger)
    assert stranger.post("/en/console/alarms/acknowledge", {"alarm": key}).status_code == 403
    assert pages.acts(newest) == []
    pages.clock.forward(hours=20)
    engineer, root = pages.signed_in(pages.world.a.engineer), pages.signed_in(ROOT)
    newest = pages.newest_entry()
    assert engineer.post("/en/console/alarms/acknowledge", {"alarm": key}).status_code == 303
    assert key not in alarms(engineer) and key not in alarms(root)
    assert pages.acts(newest) == ["alarm.acknowledge"]


def test_a_loss_that_nobody_sees_is_in_the_log_alone_after_a_day(pages: Pages) -> None:
    key = aired(pages)
    for hours, stands in ((23.9, True), (0.2, False)):
        pages.clock.forward(hours=hours)
        assert (key in alarms(pages.signed_in(pages.world.a.engineer))) is stands


def test_a_loss_that_was_seen_on_the_air_is_over_with_the_broadcast(pages: Pages) -> None:
    key = aired(pages)
    with transaction(pages.engine) as session:
        severe = f"alfa-1.{pages.world.a.broadcast_id}.feed_lost.severe"
        owner = pages.world.a.institution_id
        session.add(AlarmAcknowledgement(institution_id=owner, alarm=severe, at=at(63), actor="Asha Juma"))
    assert key not in alarms(pages.signed_in(pages.world.a.engineer))


def test_it_stays_while_the_end_is_under_way(pages: Pages) -> None:
    key, severe = aired(pages, is_ended=False), f"alfa-1.{pages.world.a.broadcast_id}.feed_lost.severe"
    engineer = pages.signed_in(pages.world.a.engineer)
    found = alarms(engineer)
    assert severe in found and key not in found
    act(pages, Act.END, 200)
    pages.clock.forward(seconds=1)
    found = alarms(engineer)
    assert severe not in found and "it ends in a moment" in found[key]


def test_while_it_ends_no_encoder_is_asked_for(pages: Pages) -> None:
    aired(pages, is_ended=False)
    engineer, start = pages.signed_in(pages.world.a.engineer), "Start the encoder"
    places = [f"/en/console/broadcasts/{pages.world.a.broadcast_id}", "/en/console/channels/alfa-1"]
    assert [start in engineer.get(place).text for place in places] == [True, True]
    act(pages, Act.END, 200)
    pages.clock.forward(seconds=1)
    for place in places:
        text = engineer.get(place).text
        assert start not in text and "no encoder is needed for it" in text, place


def test_what_is_planned_is_said_to_be_once(pages: Pages) -> None:
    engineer, path = pages.signed_in(pages.world.a.engineer), f"/console/broadcasts/{pages.world.a.broadcast_id}"
    swahili, english = (engineer.get(f"/{language}{path}").text for language in ("sw", "en"))
    assert swahili.lower().count("limepangwa") == 1 and english.count("Scheduled") == 1 and "Planned for" not in english


def test_the_page_of_what_is_over_says_so_and_leads_on(pages: Pages) -> None:
    a = pages.world.a
    engineer = pages.signed_in(a.engineer)
    ended = NOW - timedelta(days=2) + timedelta(seconds=24)
    with transaction(pages.engine) as session:
        add_event(session, a.institution_id, a.recording_id, ended, "feed_lost", None, cause="feed lost")
    path = f"/console/broadcasts/{a.recording_id}"
    text = engineer.get(f"/en{path}").text
    dial = f"{ended.astimezone(EAST_AFRICA_TIME):%H:%M:%S}"
    assert f"Since 22 November 2026, {dial} EAT" in text
    assert "Start the encoder" not in text and "data-previews" not in text
    assert re.search(rf'<p class="when">22 November 2026, {dial} EAT', text), "its log has seconds"
    for language in ("en", "sw"):
        shown = engineer.get(f"/{language}{path}").text
        base = f"/{language}/staff/recordings/{a.recording_id}"
        assert [engineer.get(link).status_code for link in (base, f"{base}/statement") if link in shown] == [200, 200]
    assert "Tangu 22 Novemba 2026, saa" in engineer.get(f"/sw{path}").text
    engineer.post(f"/en/console/broadcasts/{a.broadcast_id}/acts/cancel", {"expected": "scheduled"})
    text = engineer.get(f"/en/console/broadcasts/{a.broadcast_id}").text
    assert "Since 24 November 2026, 12:00:00 EAT" in text and "nothing of it was on the air" in text


def test_a_plan_whose_channel_is_on_the_air_says_with_what(pages: Pages) -> None:
    a, path = pages.world.a, f"/en/console/broadcasts/{pages.world.a.broadcast_id}"
    engineer, words = pages.signed_in(a.engineer), "The channel has another broadcast now:"
    assert words not in engineer.get(path).text
    with transaction(pages.engine) as session:
        by_itself = Broadcast(
            id=a.recording_id[::-1], air_id=a.recording_id[::-1], institution_id=a.institution_id, state="live",
            channel_id=session.get_one(Broadcast, a.broadcast_id).channel_id, title_sw="Alfa", title_en="Alpha",
            started_at=NOW,
        )  # fmt: skip
        session.add(by_itself)
    for place in (path, f"{path}/acts/go_live"):
        shown = engineer.get(place).text
        assert words in shown and "Going live takes its place" in shown, place
        assert f'href="/en/console/broadcasts/{a.recording_id[::-1]}">Alpha<' in shown


def test_who_changes_a_key_is_told_where_the_old_one_still_lets_in(pages: Pages) -> None:
    """Media is away: what it knew holds until it has read the database again."""
    admin, base = pages.signed_in(pages.world.a.admin), "/en/console/channels/alfa-1"
    assert "could not be told yet: it lets the old key in" in admin.post(f"{base}/keys/primary/rotate").text
    saved = admin.post(f"{base}/keys/primary/revoke").headers["location"]
    assert "Saved. But the media process could not be told yet" in admin.get(saved).text


@contextmanager
def media(folder: Path) -> Iterator[House]:
    """What a media process says of its feeds, on its socket; an encoder with a key that is nobody's has knocked."""
    path, ready, loop = folder / "run/sock/media-0.sock", threading.Event(), asyncio.new_event_loop()
    path.parent.mkdir(parents=True)
    made: list[House] = []

    async def answer(one: House, request: Request) -> bytes:
        return feeds.answer(one.channels, request) if request.path in feeds.PATHS else response(200, [], b"ok")

    async def serve() -> None:
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.bind(str(path))
        with house(folder, False) as one:
            asked = PublishRequest("si-ufunguo-wa-mtu", "live", "", "192.0.2.7:5001", "OBS")
            assert isinstance(await one.channels.admit(asked), Refusal)
            made.append(one)
            serving = asyncio.create_task(serve_http(lambda request: answer(one, request), door))
            await asyncio.sleep(0)
            ready.set()
            await serving

    task = loop.create_task(serve())
    thread = threading.Thread(target=loop.run_until_complete, args=(asyncio.wait([task]),))
    thread.start()
    try:
        assert ready.wait(10)
        yield made[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def test_who_misses_an_encoder_hears_of_a_stranger_and_nothing_but_when(pages: Pages, tmp_path: Path) -> None:
    """Whose it is nobody knows, so nobody is told where it came from, what it said, or how often."""
    key = due(pages)
    knocked = f"{datetime.fromtimestamp(START_MS / 1000, EAST_AFRICA_TIME):%H:%M:%S}"
    hint = f"An encoder came at {knocked} with a key that is nobody's."
    with media(tmp_path) as one:
        shown = alarms(pages.signed_in(pages.world.a.engineer))[key]
        assert hint in shown and not re.search("192|OBS|si-ufunguo", shown)
        with transaction(pages.engine) as session:
            session.get_one(Broadcast, pages.world.b.broadcast_id).state = "cancelled"
        pages.clock.forward(seconds=1)
        other = pages.signed_in(pages.world.b.engineer).get("/en/console").text
        assert knocked not in other, "misses none"
        one.now_ms = 121_000
        pages.clock.forward(seconds=1)
        engineer = pages.signed_in(pages.world.a.engineer)
        until(lambda: knocked not in alarms(engineer)[key], "told for more than two minutes")
