"""RFC 3161 against a real authority: `openssl ts`, honest and not, and what openssl says of what was kept."""

import dataclasses
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from archive.recordings.timestamp import Authority, Fault, TimestampError, check, read_roots, stamp
from core.web.i18n import Language
from mbashara import timestamps
from mbashara.settings import Settings
from tests.live.tsa_kit import Tsa, running_tsa
from tests.up import until

SIGNATURE = b"s" * 64


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tsa]:
    with running_tsa(tmp_path_factory.mktemp("tsa")) as tsa:
        yield tsa


@pytest.fixture
def tsa(running: Tsa) -> Tsa:
    running.manner = "honest"
    running.asked.clear()
    return running


@pytest.fixture
def authority(tsa: Tsa) -> Authority:
    return Authority(tsa.url, read_roots(tsa.ca), tries=2)


def test_a_stamp_is_checked_now_and_later_and_by_openssl(tsa: Tsa, authority: Authority) -> None:
    named = dataclasses.replace(authority, user="mbashara", password="siri")
    found = stamp(named, SIGNATURE)
    assert found.is_trusted and not found.is_clock_doubtful and abs(found.apart) < timedelta(seconds=3)
    assert tsa.asked[0]["authorization"] == "Basic bWJhc2hhcmE6c2lyaQ=="
    kept = check(found.response, SIGNATURE, authority.roots)
    assert (kept.at, kept.serial, kept.is_trusted) == (found.at, found.serial, True)
    assert tsa.verify(found.response, SIGNATURE) and not tsa.verify(found.response, SIGNATURE + b"x")
    assert not check(found.response, SIGNATURE, ()).is_trusted


def test_a_changed_stamp_is_never_taken_where_openssl_refuses_it(tsa: Tsa, authority: Authority) -> None:
    whole = stamp(authority, SIGNATURE).response
    refused = 0
    for at in range(3, len(whole), len(whole) // 40):
        changed = bytearray(whole)
        changed[at] ^= 0x20
        try:
            check(bytes(changed), SIGNATURE, authority.roots)
        except TimestampError:
            refused += 1
        else:
            assert tsa.verify(bytes(changed), SIGNATURE), f"byte {at}"
    assert refused >= 20, "all but the certificates that are only sent along"
    for length in range(0, len(whole), 97):
        with pytest.raises(TimestampError):
            check(whole[:length], SIGNATURE, authority.roots)


@pytest.mark.parametrize(
    ("manner", "fault", "asked"),
    [
        ("refuses", Fault.REFUSED, 1), ("forbids", Fault.REFUSED, 1), ("garbage", Fault.GARBAGE, 1),
        ("huge", Fault.GARBAGE, 1), ("replays", Fault.ANOTHER, 1), ("mixes", Fault.ANOTHER, 1),
        ("busy", Fault.AWAY, 2), ("hangs", Fault.AWAY, 2), ("trickles", Fault.AWAY, 2),
    ],
)  # fmt: skip
def test_misbehaviour_is_told_apart_and_bounded(
    tsa: Tsa, authority: Authority, manner: str, fault: Fault, asked: int
) -> None:
    tsa.manner, begun_s = manner, time.monotonic()
    impatient = dataclasses.replace(authority, timeout_s=0.5) if manner in ("hangs", "trickles") else authority
    with pytest.raises(TimestampError) as told:
        stamp(impatient, SIGNATURE, wait=lambda seconds: None)
    assert time.monotonic() - begun_s < 25, "one that hangs does so for thirty seconds"
    until(lambda: len(tsa.asked) >= asked, "not asked")  # whom we have given up may hear of us later
    assert (told.value.fault, len(tsa.asked)) == (fault, asked), told.value
    assert told.value.text(Language.SW) != told.value.text(Language.EN)


def test_nobody_there_and_an_authority_that_is_not_the_one_set(
    tsa: Tsa, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_tsa(tmp_path_factory.mktemp("other")) as other:
        roots = read_roots(other.ca)
        gone = dataclasses.replace(authority, url=other.url)
    for wrong, fault in ((dataclasses.replace(authority, roots=roots), Fault.UNTRUSTED), (gone, Fault.AWAY)):
        with pytest.raises(TimestampError) as told:
            stamp(wrong, SIGNATURE, wait=lambda seconds: None)
        assert told.value.fault is fault
        assert "ErrorStack" not in str(told.value), "OpenSSL's own reason, not all that it came by"
    with pytest.raises(TimestampError, match="can't be read"):
        read_roots(tsa.folder / "tsa.key")


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_far_off_is_told_and_the_stamp_kept(authority: Authority, minutes: int) -> None:
    """Whose is wrong, ours or theirs, looks the same from here."""
    found = stamp(authority, SIGNATURE, now=lambda: datetime.now(UTC) - timedelta(minutes=minutes))
    assert found.is_clock_doubtful and found.is_trusted
    assert abs(found.apart - timedelta(minutes=minutes)) < timedelta(seconds=60)


def test_the_authority_of_the_settings(tsa: Tsa) -> None:
    assert timestamps.authority(Settings(timestamp_url="")) is None
    settings = Settings(
        timestamp_url=tsa.url, timestamp_ca_file=tsa.ca, timestamp_user="asha", timestamp_password="siri"
    )
    authority = timestamps.authority(settings)
    assert authority is not None and stamp(authority, SIGNATURE).is_trusted
    assert "siri" not in repr(settings) + repr(authority)
