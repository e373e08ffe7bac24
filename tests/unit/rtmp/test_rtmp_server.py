"""The server on a real uvloop and real sockets: who may stay, for how long, and what he is told when he has to go."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import cast

import pytest

from ingest.rtmp.client import PublishStarted, Refused
from ingest.rtmp.door import FeedEnd, FeedSink, HandOff, PublishRequest, Refusal
from ingest.rtmp.errors import HandoffError
from ingest.rtmp.handoff import receive_publisher
from ingest.rtmp.server import Limits, RtmpServer
from tests.unit.rtmp.pair import C0_C1_C2
from tests.unit.rtmp.server_kit import Clock, Encoder, Sink, admits, on_uvloop, serving, until


@on_uvloop
async def test_a_publication_arrives_whole_and_ends_clean_once() -> None:
    sink = Sink()
    server = RtmpServer(admits(sink))
    async with serving(server) as address:
        encoder = await Encoder(address).publish()
        frames = [bytes([n]) * (n * 700 + 1) for n in range(1, 60)]
        for n, frame in enumerate(frames):
            await encoder.send(n * 40, frame)
        encoder.client.unpublish()
        await encoder.flush()
        await encoder.read_to_end()
        await until(lambda: sink.ends)
        assert sink.messages == [(9, n * 40, frame) for n, frame in enumerate(frames)]
        assert sink.ends == [FeedEnd(True, "FCUnpublish")]
        encoder.writer.close()
        await until(lambda: not server.peers)
    assert len(sink.ends) == 1


ENDS: list[tuple[str, str, str]] = [
    ("FIN", "eof", "closed the connection"),
    ("RST", "abort", "the connection broke"),
    ("the server stops", "stop", "the server is stopping"),
    ("protocol fault", "fault", "starts with a type 3"),
    ("silence", "silence", "nothing arrived for too long"),
]


@pytest.mark.parametrize(("how", "reason"), [case[1:] for case in ENDS], ids=[case[0] for case in ENDS])
@on_uvloop
async def test_every_end_is_told_to_the_sink_once(how: str, reason: str) -> None:
    sink, clock = Sink(), Clock()
    server = RtmpServer(admits(sink), clock=clock)
    async with serving(server) as address:
        encoder = await Encoder(address).publish()
        await encoder.send(0, b"x" * 5000)
        await until(lambda: sink.messages)
        if how == "eof":
            encoder.writer.write_eof()
        elif how == "abort":
            encoder.writer.transport.abort()
        elif how == "fault":
            encoder.writer.write(b"\xdf" * 10)
        elif how == "silence":
            server.sweep()  # sees the message
            clock.now_s += server.limits.silence_timeout_s
            server.sweep()
        if how != "stop":
            await until(lambda: sink.ends)
        if how in ("fault", "silence"):
            await encoder.read_to_end()
            assert isinstance(encoder.events[0], Refused) and reason in encoder.events[0].description
        encoder.writer.close()
    await asyncio.sleep(0.02)
    assert [end.clean for end in sink.ends] == [False]
    assert reason in sink.ends[0].reason or how == "abort"


@pytest.mark.parametrize("unread_bytes", [0, 300_000])
@on_uvloop
async def test_a_refused_encoder_reads_the_reason_and_no_reset(unread_bytes: int) -> None:
    """Also an encoder that went on sending: closing with unread bytes would send RST and lose the onStatus."""
    server = RtmpServer(admits(Refusal("NetStream.Publish.Denied", "Ufunguo si sahihi")))
    async with serving(server) as address:
        encoder = await Encoder(address).connect()
        while encoder.client._stream_id == 0:
            await encoder.read_once()
        encoder.writer.write(bytes(unread_bytes))
        assert await encoder.answer() == Refused("NetStream.Publish.Denied", "Ufunguo si sahihi")
        await encoder.read_to_end()
        encoder.writer.close()
        await until(lambda: not server.peers)


@on_uvloop
async def test_an_encoder_that_stays_after_its_refusal_is_cut_off() -> None:
    clock = Clock()
    server = RtmpServer(admits(Refusal("NetStream.Publish.BadName", "in use")), clock=clock)
    async with serving(server) as address:
        encoder = await Encoder(address).connect()
        assert isinstance(await encoder.answer(), Refused)
        clock.now_s += server.limits.linger_s
        server.sweep()
        assert not server.peers
        encoder.writer.close()


@on_uvloop
async def test_a_feed_that_the_sink_gives_up_is_told_why() -> None:
    sink = Sink(fails_at=2)
    server = RtmpServer(admits(sink))
    async with serving(server) as address:
        encoder = await Encoder(address).publish()
        for n in range(3):
            await encoder.send(n, b"x")
        assert await encoder.answer() == Refused("NetStream.Failed", "the codec is not one we take")
        await encoder.read_to_end()
        encoder.writer.close()
    assert sink.ends == [FeedEnd(False, "the codec is not one we take", is_refused=True)] and len(sink.messages) == 2


@on_uvloop
async def test_a_bug_in_one_sink_ends_that_feed_alone() -> None:
    broken, sound = Sink(fails_at=1, error=ZeroDivisionError("bug")), Sink()
    sinks = {"broken": broken, "sound": sound}

    async def admit(request: PublishRequest) -> FeedSink:
        return sinks[request.key]

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with serving(RtmpServer(admit)) as address:
        first, second = await Encoder(address, "broken").publish(), await Encoder(address, "sound").publish()
        await first.send(0, b"x")
        await until(lambda: broken.ends)
        await second.send(0, b"y")
        await until(lambda: sound.messages)
        assert not sound.ends and len(broken.ends) == 1
        first.writer.close()
        second.writer.close()


@on_uvloop
async def test_an_end_that_fails_does_not_stop_the_other_feeds() -> None:
    """As on a full memory folder: the frame can't be kept, and neither can the feed's end be told."""

    class Cursed(Sink):
        def on_end(self, end: FeedEnd) -> None:
            super().on_end(end)
            raise OSError(28, "no space left")

    cursed, sound = Cursed(fails_at=1, error=OSError(28, "no space left")), Sink()
    sinks = {"cursed": cursed, "sound": sound}

    async def admit(request: PublishRequest) -> FeedSink:
        return sinks[request.key]

    async with serving(RtmpServer(admit)) as address:
        first, second = await Encoder(address, "cursed").publish(), await Encoder(address, "sound").publish()
        await first.send(0, b"x")
        await until(lambda: cursed.ends)
        await second.send(0, b"y")
        await until(lambda: sound.messages)
        third = await Encoder(address, "sound").publish()
        await third.send(0, b"z")
        await until(lambda: len(sound.messages) == 2)
        for encoder in (first, second, third):
            encoder.writer.close()


@on_uvloop
async def test_an_admission_that_fails_is_a_refusal() -> None:
    async def admit(request: PublishRequest) -> FeedSink:
        raise ZeroDivisionError("bug")

    async with serving(RtmpServer(admit)) as address:
        encoder = await Encoder(address).connect()
        answer = await encoder.answer()
        assert isinstance(answer, Refused) and answer.code == "NetStream.Publish.Denied"
        encoder.writer.close()


@on_uvloop
async def test_an_admission_that_takes_too_long_is_a_refusal() -> None:
    async def admit(request: PublishRequest) -> FeedSink:
        await asyncio.sleep(600)
        raise AssertionError

    async with serving(RtmpServer(admit, Limits(admit_timeout_s=0.1))) as address:
        encoder = await Encoder(address).connect()
        assert isinstance(await encoder.answer(), Refused)
        encoder.writer.close()


@on_uvloop
async def test_who_leaves_while_being_admitted_is_no_feed() -> None:
    sink, gate = Sink(), asyncio.Event()

    async def admit(request: PublishRequest) -> FeedSink:
        await gate.wait()
        return sink

    server = RtmpServer(admit)
    async with serving(server) as address:
        encoder = await Encoder(address).connect()
        while encoder.client._stream_id == 0:  # publish has been sent
            await encoder.read_once()
        await until(lambda: any(peer._admitting for peer in server.peers))
        next(iter(server.peers)).abort("gone")
        gate.set()
        await until(lambda: sink.ends)
        assert sink.ends == [FeedEnd(False, "left while being admitted")]
        encoder.writer.close()


# Time.


@on_uvloop
async def test_one_byte_a_second_does_not_hold_a_place() -> None:
    clock = Clock()
    server = RtmpServer(admits(Sink()), clock=clock)
    async with serving(server) as address:
        reader, writer = await asyncio.open_connection(*address)
        await until(lambda: server.peers)
        for byte in C0_C1_C2[:30]:
            writer.write(bytes([byte]))
            await writer.drain()
            clock.now_s += 1
            server.sweep()
            if next(iter(server.peers))._over:
                break
        assert clock.now_s == 1000 + server.limits.setup_timeout_s
        assert await reader.read() == b""
        writer.close()


@on_uvloop
async def test_bytes_without_a_whole_message_are_silence() -> None:
    sink, clock = Sink(), Clock()
    server = RtmpServer(admits(sink), clock=clock)
    async with serving(server) as address:
        encoder = await Encoder(address).publish()
        encoder.writer.write(b"\x06\0\0\0\x10\0\0\x09\x01\0\0\0")  # a video message of a megabyte begins
        while not sink.ends:
            encoder.writer.write(b"x")
            await asyncio.sleep(0.002)
            clock.now_s += 1
            server.sweep()
        assert clock.now_s == 1000 + server.limits.silence_timeout_s
        assert [end.reason for end in sink.ends] == ["nothing arrived for too long"]
        encoder.writer.close()


@on_uvloop
async def test_a_publisher_that_does_not_read_our_answers_is_cut_off() -> None:
    sink = Sink()
    async with serving(RtmpServer(admits(sink), Limits(max_unsent_bytes=4096)), send_buffer=4096) as address:
        encoder = await Encoder(address, receive_buffer=4096).publish()
        cast(asyncio.Transport, encoder.writer.transport).pause_reading()
        ping = b"\x02\0\0\0\0\0\x06\x04\0\0\0\0" + b"\0\x06\0\0\0\0"
        with contextlib.suppress(OSError, RuntimeError):
            while not sink.ends:
                encoder.writer.write(ping * 100)
                await asyncio.sleep(0.001)
        assert sink.ends == [FeedEnd(False, "the peer does not read our answers")]
        encoder.writer.transport.abort()


@on_uvloop
async def test_pings_without_publishing_come_to_an_end() -> None:
    """Each costs us more than its sender, so whoever has no key may send only so many."""
    server = RtmpServer(admits(Sink()))
    async with serving(server) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(C0_C1_C2 + (b"\x02\0\0\0\0\0\x06\x04\0\0\0\0" + b"\0\x06\0\0\0\0") * 20_000)
        assert b"did not publish within" in await reader.read()
        writer.close()


# Numbers.


@on_uvloop
async def test_a_newcomer_takes_the_place_of_the_oldest_that_is_idle() -> None:
    server = RtmpServer(admits(Sink()), Limits(max_connections=3))
    async with serving(server) as address:
        publisher = await Encoder(address).publish()
        idle = [await asyncio.open_connection(*address) for _ in range(2)]
        await until(lambda: len(server.peers) == 3)
        newcomer = await Encoder(address).publish()
        assert await idle[0][0].read() == b""
        assert len(server.peers) == 3 and not publisher.reader.at_eof()
        for writer in (publisher.writer, newcomer.writer, idle[0][1], idle[1][1]):
            writer.close()


@on_uvloop
async def test_publishers_are_never_put_out_for_a_newcomer() -> None:
    sinks: list[Sink] = []

    async def admit(request: PublishRequest) -> FeedSink:
        sinks.append(Sink())
        return sinks[-1]

    server = RtmpServer(admit, Limits(max_connections_per_address=2))
    async with serving(server) as address:
        publishers = [await Encoder(address).publish() for _ in range(2)]
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.read() == b""
        assert len(server.peers) == 2 and not any(sink.ends for sink in sinks)
        for one in (*(publisher.writer for publisher in publishers), writer):
            one.close()


@on_uvloop
async def test_a_thousand_idle_connections_do_not_keep_an_encoder_out() -> None:
    server = RtmpServer(admits(Sink()), Limits(max_connections=64, max_connections_per_address=32))
    async with serving(server) as address:
        idle = [socket.create_connection(address) for _ in range(200)]
        await asyncio.sleep(0.1)
        encoder = await Encoder(address).publish()
        assert len(server.peers) <= 32
        encoder.writer.close()
        for sock in idle:
            sock.close()


# Handoff.


@pytest.mark.parametrize("early_bytes", [0, 5000, 400_000])
@on_uvloop
async def test_a_publisher_is_passed_on_with_all_its_bytes(tmp_path: Path, early_bytes: int) -> None:
    """Media sent before the answer, some of it read by the first worker, some still in the kernel."""
    sink, path = Sink(), tmp_path / "media-1.handoff"
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen()
    first = RtmpServer(admits(HandOff(1)), handoff_path=lambda worker: path)
    second = RtmpServer(admits(sink))
    taking = asyncio.create_task(second.serve_handoffs(door))
    async with serving(first) as address, serving(second):
        encoder = Encoder(address)
        await encoder.connect()
        while encoder.client._stream_id == 0:  # publish has been sent
            await encoder.read_once()
        encoder.client.publishing = True  # an encoder that doesn't wait for the answer
        if early_bytes:
            await encoder.send(40, b"e" * early_bytes)
        encoder.client.publishing = False
        assert await encoder.answer() == PublishStarted()
        for n in range(20):
            await encoder.send(100 + n, b"l" * 3000)
        wanted = [(9, 40, b"e" * early_bytes)] * bool(early_bytes)
        wanted += [(9, 100 + n, b"l" * 3000) for n in range(20)]
        await until(lambda: len(sink.messages) == len(wanted))
        assert sink.messages == wanted
        await until(lambda: not first.peers)
        assert len(second.peers) == 1
        assert not encoder.reader.at_eof() and not sink.ends
        encoder.writer.close()
        await until(lambda: sink.ends)
    taking.cancel()
    door.close()


@on_uvloop
async def test_a_worker_that_is_not_there_is_a_refusal(tmp_path: Path) -> None:
    server = RtmpServer(admits(HandOff(1)), handoff_path=lambda worker: tmp_path / "nobody.handoff")
    async with serving(server) as address:
        encoder = await Encoder(address).connect()
        answer = await encoder.answer()
        assert isinstance(answer, Refused) and "try again" in answer.description
        await encoder.read_to_end()
        encoder.writer.close()


@on_uvloop
async def test_nobody_is_passed_on_twice(tmp_path: Path) -> None:
    path = tmp_path / "media-1.handoff"
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen()
    both = [RtmpServer(admits(HandOff(1)), handoff_path=lambda worker: path) for _ in range(2)]
    taking = asyncio.create_task(both[1].serve_handoffs(door))
    async with serving(both[0]) as address, serving(both[1]):
        encoder = await Encoder(address).connect()
        assert isinstance(await encoder.answer(), Refused)
        encoder.writer.close()
    taking.cancel()
    door.close()


@pytest.mark.parametrize("sent", [b"", b"\0\0\0\x05", b"\xff\xff\xff\xff" + b"x" * 100])
def test_a_handoff_without_a_descriptor_or_whole_frame_is_a_typed_error(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as publisher:
        if len(sent) > 4:
            socket.send_fds(theirs, [sent], [publisher.fileno()])
        else:
            theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(HandoffError):
            receive_publisher(ours, timeout_s=60)
