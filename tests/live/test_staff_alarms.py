"""Alarms on the pages without scripts: who sees which, who may acknowledge, and that the others are told.

No media process runs here: to the console it is away, and no feed comes to what is planned.
"""

import re
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from archive.recordings.tables import RecordingCopy
from core.database import open_engine, transaction
from ingest.console import Studio, alarm_desk
from mbashara.archive_calls import ArchiveCalls
from mbashara.load import LoadMeter
from mbashara.media_processes import MediaProcesses
from mbashara.settings import Settings
from tests.live.pages_kit import ROOT, Browser, Pages
from tests.live.staff_kit import PEPPER


def alarms(browser: Browser, path: str = "/en/console") -> dict[str, str]:
    """What the page says of each, by its key; the machine's have no channel."""
    found = re.findall(r'<li class="alarm[^>]+data-key="([^"]+)".*?</li>', text := browser.get(path).text, re.S)
    whole = re.findall(r'<li class="alarm.*?</li>', text, re.S)
    return dict(zip(found, whole, strict=True))


def due(pages: Pages) -> str:
    """A minute before A's and B's broadcasts begin; the key of A's alarm."""
    pages.clock.now += timedelta(hours=1, minutes=59)
    return f"alfa-1.{pages.world.a.broadcast_id}.no_feed.mild"


def of_archive(pages: Pages) -> list[str]:
    """The keys of what A's archive calls for: one copy is faulty, so one is whole."""
    it = pages.world.a.recording_id
    return [f"alfa-1.archive.{kind}.{it}.severe" for kind in ("copy_faulty", "few_copies")]


def test_an_alarm_is_acknowledged_once_and_everyone_is_told(pages: Pages) -> None:
    key = due(pages)
    engineer, admin = pages.signed_in(pages.world.a.engineer), pages.signed_in(pages.world.a.admin)
    newest = pages.newest_entry()
    for path in ("/en/console", "/en/console/channels/alfa-1", f"/en/console/broadcasts/{pages.world.a.broadcast_id}"):
        shown = alarms(engineer, path)
        assert set(shown) == {"media_away.severe", key, *of_archive(pages)}, path
        assert "▲ Attention" in shown[key] and "no feed has come yet" in shown[key] and "I have seen it" in shown[key]
    answer = engineer.post("/en/console/alarms/acknowledge", {"alarm": key, "back": "/console/channels/alfa-1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/en/console/channels/alfa-1")
    pages.clock.forward(minutes=1)
    admin.post("/en/console/alarms/acknowledge", {"alarm": key, "back": "//evil.example/"})
    shown = alarms(admin)
    assert "Seen by Asha Juma, 13:59" in shown[key] and "I have seen it" not in shown[key]
    assert pages.acts(newest) == ["alarm.acknowledge"]


def test_crossing_with_alarms(pages: Pages) -> None:
    key = due(pages)
    stranger, root = pages.signed_in(pages.world.b.admin), pages.signed_in(ROOT)
    assert key not in alarms(stranger) and key not in stranger.get("/en/console/alarms?channel=alfa-1").text
    newest = pages.newest_entry()
    for theirs in (key, "media_away.severe"):
        assert stranger.post("/en/console/alarms/acknowledge", {"alarm": theirs}).status_code == 403, theirs
    assert stranger.post("/en/console/alarms/acknowledge", {"alarm": "none"}).status_code == 303
    assert pages.acts(newest) == []
    assert root.post("/en/console/alarms/acknowledge", {"alarm": key}).status_code == 303
    assert pages.acts(newest) == ["alarm.acknowledge"]


def test_the_archives_severe_alarms_are_on_the_wall_with_their_remedy(pages: Pages) -> None:
    a = pages.world.a
    engineer, stranger = pages.signed_in(a.engineer), pages.signed_in(pages.world.b.admin)
    faulty, few = of_archive(pages)
    for path, words in (
        (
            "/en/console",
            ("✖ Alarm: alfa: 1 recording has a copy that is faulty", "See beside the copy what can be done"),
        ),
        ("/sw/console", ("Rekodi 1 ina nakala yenye kasoro", "Ona kando ya nakala kinachoweza kufanyika")),
    ):
        shown = alarms(engineer, path)
        assert [word for word in words if word not in shown[faulty]] == [] and few in shown
        link = re.search(r'href="(/[^"]+)"', shown[faulty])
        assert link is not None and engineer.get(link[1]).status_code == 200
    assert not {faulty, few} & set(alarms(stranger))
    newest = pages.newest_entry()
    assert stranger.post("/en/console/alarms/acknowledge", {"alarm": faulty}).status_code == 403
    assert engineer.post("/en/console/alarms/acknowledge", {"alarm": faulty}).status_code == 303
    assert "Seen by Asha Juma" in alarms(engineer)[faulty] and pages.acts(newest) == ["alarm.acknowledge"]
    with transaction(pages.engine) as session:
        mine = session.scalars(select(RecordingCopy).where(RecordingCopy.recording_id == a.recording_id))
        for copy in mine:
            copy.state = "whole"
    pages.clock.forward(seconds=1)
    assert not {faulty, few} & set(alarms(engineer)), "mended"


def test_one_connection_is_enough_for_them(pages: Pages, tmp_path: Path) -> None:
    """Nobody waits for a second one while he has the first: as many as there are connections would wait for good."""
    engine, settings = open_engine(pages.engine.url.render_as_string(False), pool_size=1), Settings(data=tmp_path)
    media, load = MediaProcesses(settings), LoadMeter(settings, MediaProcesses(settings))
    studio = Studio(engine, media, PEPPER, "", tmp_path, tmp_path, load.read, archive=ArchiveCalls(engine))
    told = alarm_desk.words(studio, []).get("alfa-1", "")
    engine.dispose()
    assert [key for key in of_archive(pages) if key not in told] == []
