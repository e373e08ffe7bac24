"""Every place in which an encoder puts the stream key."""

import pytest

from ingest.rtmp.address import stream_address

URL = "rtmp://host:1935/live"
CASES = [
    ("OBS, vMix, Wirecast, ffmpeg", "live", URL, "KEY", ("live", "KEY")),
    ("whole path in app", "live/KEY", URL + "/KEY", "", ("live", "KEY")),
    ("app with a slash at the end", "live/", URL + "/", "KEY", ("live", "KEY")),
    ("app with a slash in front", "/live", URL, "KEY", ("live", "KEY")),
    ("key with a slash in front", "live", URL, "/KEY", ("live", "KEY")),
    ("key and slash at the end, all in app", "live/KEY/", URL, "", ("live", "KEY")),
    ("token after the key", "live", URL, "KEY?token=abc&x=/y", ("live", "KEY")),
    ("token after the app", "live?token=abc", URL, "KEY", ("live", "KEY")),
    ("key in the name's last part", "live", URL, "x/KEY", ("live/x", "KEY")),
    ("quoted", '"live"', f'"{URL}"', "'KEY' ", ("live", "KEY")),
    ("app only in tcUrl", "", URL, "KEY", ("live", "KEY")),
    ("all only in a quoted tcUrl", "", f'"{URL}/KEY"', "", ("live", "KEY")),
    ("no application", "KEY", "rtmp://host/KEY", "", ("live", "KEY")),
    ("no application, all in the name", "", "rtmp://host", "live/KEY", ("live", "KEY")),
    ("FMLE's default instance", "live/_definst_", URL, "KEY", ("live/_definst_", "KEY")),
    ("Adobe user beside a key", "live?authmod=adobe&user=U", URL, "KEY", ("live", "KEY")),
    ("Adobe user as the key", "live?authmod=adobe&user=KEY", URL, "", ("live", "KEY")),
    ("Limelight user as the key", "live", URL + "?authmod=llnw&user=KEY", "", ("live", "KEY")),
    ("a user without authmod is none", "live?user=KEY", URL, "", ("live", "")),
    ("none", "live", URL, "", ("live", "")),
    ("nothing at all", "", "", "", ("live", "")),
    ("tcUrl that is no address", "", "rtmp://[::1/live", "KEY", ("live", "KEY")),
    ("a query of a thousand fields", "live?" + "a=1&" * 1000, URL, "", ("live", "")),
]


@pytest.mark.parametrize(("app", "tc_url", "name", "expected"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_stream_address(app: str, tc_url: str, name: str, expected: tuple[str, str]) -> None:
    assert stream_address(app, tc_url, name) == expected
