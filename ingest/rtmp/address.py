"""Where encoders put the stream key: the many spellings of rtmp://HOST/live/KEY.

    what the encoder asks for                          app         publish name
    OBS, vMix, Wirecast (server and key apart)         live        KEY
    ffmpeg rtmp://HOST/live/KEY                        live        KEY
    Larix, appliances that send the whole path         live/KEY    (empty)
    anything that signs its addresses                  live        KEY?token=...
    GStreamer, some appliances                         live/       KEY, or with the address in quotes
    no application at all: rtmp://HOST/KEY             KEY         (empty)
    librtmp, Wirecast, Larix with user and password    live?authmod=adobe&user=KEY    KEY, or (empty)

`authmod=adobe` is a challenge that proves a password which the server must know in clear. Our keys are stored
hashed and are the credential themselves, so we never challenge: encoders that have a user and password then
simply go on without. Where nothing else names a key, the user does.
"""

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

DEFAULT_APP = "live"
_NOISE = " \t\r\n\"'"


class Address(NamedTuple):
    app: str
    key: str  # empty when the encoder named none


def clean(text: str) -> str:
    """Without the quotes and blanks that reach us from copied addresses and shell scripts."""
    return text.strip(_NOISE)


def stream_address(app: str, tc_url: str, publish_name: str) -> Address:
    app_path, _, query = clean(app).partition("?")
    parts = _parts(app_path) or _parts(_path_of(clean(tc_url)))
    name = _parts(clean(publish_name).partition("?")[0])
    if name:
        return Address("/".join(parts + name[:-1]) or DEFAULT_APP, name[-1])
    if len(parts) > 1 or (parts and parts[0] != DEFAULT_APP):
        return Address("/".join(parts[:-1]) or DEFAULT_APP, parts[-1])
    return Address(DEFAULT_APP, _user(query) or _user(_query_of(tc_url)))


def _query_of(tc_url: str) -> str:
    return clean(tc_url).partition("?")[2]


def _path_of(tc_url: str) -> str:
    try:
        return urlsplit(tc_url).path
    except ValueError:  # a bracket where no IPv6 address is
        return ""


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _user(query: str) -> str:
    try:
        values = parse_qs(query, max_num_fields=32)
    except ValueError:
        return ""
    return values.get("user", [""])[-1] if "authmod" in values else ""
