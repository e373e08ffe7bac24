"""Days and hours as people in Tanzania say them. All times given are aware; all shown are East Africa Time.

The Swahili clock counts from sunrise: what the dial shows as 7:00 is "saa 1:00 asubuhi". The dial's time stands beside
it, because an hour that is misread is a broadcast that is missed.
"""

from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

from babel.dates import format_date

from core.web.i18n import Language

EAST_AFRICA_TIME = timezone(timedelta(hours=3), "EAT")  # no summer time, so no time zone data needed
DIAL, EXACT_DIAL = "%H:%M", "%H:%M:%S"
# first hour of the dial -> name of that part of the day, until the next
_PARTS_OF_DAY = ((0, "usiku"), (4, "alfajiri"), (6, "asubuhi"), (12, "mchana"), (16, "jioni"), (19, "usiku"))


def day(when: datetime, language: Language) -> str:
    """ "24 Novemba 2026"."""
    return _format(when.astimezone(EAST_AFRICA_TIME).date(), "d MMMM y", language)


def weekday(when: datetime, language: Language) -> str:
    """ "Jumanne, 24 Novemba"."""
    return _format(when.astimezone(EAST_AFRICA_TIME).date(), "EEEE, d MMMM", language)


def month(when: datetime, language: Language) -> str:
    """ "Novemba 2026"."""
    return _format(when.astimezone(EAST_AFRICA_TIME).date(), "LLLL y", language)


def day_of_week(when: datetime, language: Language) -> str:
    """ "Jumanne"."""
    return _format(when.astimezone(EAST_AFRICA_TIME).date(), "cccc", language)


def noon(day_: date) -> datetime:
    """A day as a moment of it, for those above."""
    return datetime(day_.year, day_.month, day_.day, 12, tzinfo=EAST_AFRICA_TIME)


@lru_cache(1024)
def _format(when: date, pattern: str, language: Language) -> str:
    """A page of broadcasts names few days many times."""
    return format_date(when, pattern, locale=language.value)


def clock(when: datetime, language: Language, form: str = DIAL) -> str:
    """ "saa 4:05 asubuhi (10:05)" in Swahili, "10:05" in English."""
    local = when.astimezone(EAST_AFRICA_TIME)
    dial = format(local, form)
    return f"{swahili_clock(local)} ({dial})" if language is Language.SW else dial


def moment(when: datetime, language: Language, form: str = DIAL) -> str:
    """ "24 Novemba 2026, saa 4:05 asubuhi (10:05)"; English says whose clock it is."""
    zone = "" if language is Language.SW else " EAT"
    return f"{day(when, language)}, {clock(when, language, form)}{zone}"


def exact_moment(when: datetime, language: Language) -> str:
    """The dial to the second, "(10:05:09)": cut off and never rounded up, as the times of a statement are. The Swahili
    clock is said to the minute."""
    return moment(when, language, EXACT_DIAL)


def zoned_moment(when: datetime, language: Language) -> str:
    """For what is done at that time, wherever the reader is: Swahili names the zone too."""
    zone = ", saa za Afrika Mashariki" if language is Language.SW else ""
    return f"{moment(when, language)}{zone}"


def exact_clock(when: datetime, language: Language) -> str:
    return clock(when, language, EXACT_DIAL)


def swahili_clock(local: datetime) -> str:
    hour = (local.hour - 6) % 12 or 12
    part = next(name for first, name in reversed(_PARTS_OF_DAY) if local.hour >= first)
    return f"saa {hour}:{local:%M} {part}"


def duration(duration_ms: int) -> str:
    """ "1:02:03" or "2:03": hours where there are any, minutes, seconds."""
    minutes, seconds = divmod(round(duration_ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def seconds(when: datetime) -> str:
    """ "10:15:04" on the dial: for proof, where the Swahili clock would be in the way."""
    return format(when.astimezone(EAST_AFRICA_TIME), EXACT_DIAL)


def exactly(duration_ms: int) -> str:
    """ "2:03.250"."""
    return f"{duration(duration_ms // 1000 * 1000)}.{duration_ms % 1000:03}"
