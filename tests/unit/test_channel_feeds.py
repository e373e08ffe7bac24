"""What others are given of a channel's feeds: the newest keyframe, the last sound."""

from pathlib import Path

from core.media import flv
from core.web.http import Request
from mbashara import feeds
from tests.unit.channel_kit import LIVE, REHEARSAL, House, run
from tests.unit.media_kit import picture


def test_the_last_keyframe_of_a_rehearsal_is_not_shown_to_everyone(tmp_path: Path) -> None:
    def shown(one: House) -> bool:
        answer = feeds.answer(one.channels, Request(feeds.KEYFRAME_PATH, "channel=ikulu&role=primary"))
        assert answer.startswith(b"HTTP/1.1 200")
        return b"x-on-air: 1" in answer

    async def scenario(one: House) -> None:
        one.plan(REHEARSAL)
        feed = await one.come()
        keyframe = bytearray(b"\x17\x01\0\0\0" + bytes(picture(0, True).payload))
        feed.on_message(flv.VIDEO, 0, keyframe)
        assert not shown(one)
        one.plan(LIVE)
        assert one.channel.on_air is feed and not shown(one)
        feed.on_message(flv.VIDEO, 2000, keyframe)
        assert shown(one)
        one.plan(REHEARSAL)
        assert not shown(one)

    run(tmp_path, scenario)


def test_a_feeds_last_sound_is_handed_out_once(tmp_path: Path) -> None:
    def asked(one: House, known: str = "") -> bytes:
        query = f"channel=ikulu&role=primary&known={known}"
        return feeds.answer(one.channels, Request(feeds.SOUND_PATH, query))

    async def scenario(one: House) -> None:
        feed = await one.come()
        assert asked(one).startswith(b"HTTP/1.1 404")
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x00\x11\x90"))
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x01first"))
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x01second"))  # an encoder's clock may stand still
        answer = asked(one)
        assert answer.startswith(b"HTTP/1.1 200") and b"first" in answer and b"second" in answer
        known = answer.split(b"etag: ")[1].split(b"\r\n")[0].decode()
        assert asked(one, known).startswith(b"HTTP/1.1 304")
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x01third"))
        assert b"third" in asked(one, known)

    run(tmp_path, scenario)
