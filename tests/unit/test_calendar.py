"""Months as the calendar counts them, and the file for calendar programs."""

from datetime import UTC, date, datetime

import pytest

from core.broadcasts.calendar import Month
from core.tables import Broadcast, Channel
from ingest.console import ics


@pytest.mark.parametrize(
    ("text", "days", "before", "after"),
    [
        ("2026-11", 30, "2026-10", "2026-12"),
        ("2026-12", 31, "2026-11", "2027-01"),
        ("2028-02", 29, "2028-01", "2028-03"),
    ],
)
def test_months_follow_each_other(text: str, days: int, before: str, after: str) -> None:
    month = Month.read(text)
    assert (len(month.days), str(month.before), str(month.after)) == (days, before, after)
    assert month.days[0].day == 1 and month == Month.of(date(month.first.year, month.first.month, 28))


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "1999-12", "2100-01", "0001-01", "2026-11-01", "x" * 9000])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(ValueError):
        Month.read(text)


def test_the_file_keeps_to_the_letter_of_rfc_5545() -> None:
    title = "Kikao; bajeti, siku ya kwanza\r\nATTENDEE:x " + "élan 🇹🇿 " * 30
    broadcast = Broadcast(
        id="01jdx", state="cancelled", title_sw=title, title_en="Sitting",
        planned_start_at=datetime(2026, 11, 28, 7, tzinfo=UTC), planned_end_at=datetime(2026, 11, 28, 9, tzinfo=UTC),
    )  # fmt: skip
    channel = Channel(slug="bunge", name_sw="Bunge", name_en="Parliament")
    text = ics.calendar([(broadcast, channel)], lambda swahili, _english: swahili, datetime(2026, 11, 1, tzinfo=UTC))
    lines = text.split("\r\n")
    assert max(len(line.encode()) for line in lines) <= 75 and "\n" not in text.replace("\r\n", "")
    unfolded = text.replace("\r\n ", "").split("\r\n")
    assert unfolded[3:8] == [
        "BEGIN:VEVENT", "UID:01jdx@mbashara", "DTSTAMP:20261101T000000Z", "DTSTART:20261128T070000Z",
        "DTEND:20261128T090000Z",
    ]  # fmt: skip
    assert unfolded[8].startswith("SUMMARY:Kikao\\; bajeti\\, siku ya kwanza ATTENDEE:x élan 🇹🇿")
    assert unfolded[9:] == ["LOCATION:Bunge", "STATUS:CANCELLED", "END:VEVENT", "END:VCALENDAR", ""]
