"""Who counts as a viewer, for how long, and what happens with more than can be counted."""

import pytest

from core.broadcasts.viewers import Viewers
from player.audience import Audience, Seen, read_datagram

SALT = bytes(16)


def told(channel: str, rendition: str, who: str) -> bytes:
    return f"<190>Nov 28 04:00:55 viewers: {channel} {rendition} {who}".encode()


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (told("ikulu", "source", "1.2.3.4 - Mozilla/5.0 (X)"), Seen("ikulu", False, b"1.2.3.4 - Mozilla/5.0 (X)")),
        (told("ikulu", "low-audio", "::1 ab12 -"), Seen("ikulu", True, b"::1 ab12 -")),
        (told("ikulu", "source-audio", "x"), Seen("ikulu", True, b"x")),
        (told("ikulu", "360p", "viewers: a"), Seen("ikulu", False, b"viewers: a")),
        (b"", None),
        (b"<190>Nov 28 04:00:55 nginx: ikulu source 1.2.3.4", None),
        (b"<190>Nov 28 04:00:55 viewers: ikulu source", None),
    ],
)
def test_what_the_edge_tells(data: bytes, seen: Seen | None) -> None:
    assert read_datagram(data) == seen


def test_a_watcher_counts_once_until_gone() -> None:
    audience = Audience(SALT)
    for at_s in (0.0, 4.0, 8.0):
        audience.see(Seen("ikulu", False, b"asha"), at_s)
        audience.see(Seen("ikulu", True, b"asha"), at_s + 0.1)
    audience.see(Seen("ikulu", True, b"juma"), 8)
    audience.see(Seen("bunge", False, b"juma"), 8)
    assert audience.count(8) == {"ikulu": Viewers(2, 1), "bunge": Viewers(1)}
    audience.see(Seen("ikulu", True, b"asha"), 20)  # the picture is switched off
    assert audience.count(23.05) == {"ikulu": Viewers(1, 1)}
    assert audience.count(36) == {}


def test_more_than_can_be_counted_is_at_least_so_many() -> None:
    audience = Audience(SALT, max_watchers=3)
    for number in range(5):
        audience.see(Seen("ikulu", False, b"%d" % number), 0)
    audience.see(Seen("bunge", False, b"9"), 1)
    assert audience.count(1) == {"ikulu": Viewers(3, 0, is_least=True), "bunge": Viewers(0, 0, is_least=True)}
    assert str(audience.count(1)["ikulu"]) == "≥ 3"
    audience.see(Seen("ikulu", False, b"0"), 16)
    assert audience.count(16.5) == {"ikulu": Viewers(1)}, "there is room again"
    audience.see(Seen("bunge", False, b"9"), 17)
    assert audience.count(17)["bunge"] == Viewers(1)
