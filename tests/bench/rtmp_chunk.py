"""Nanoseconds per chunk and per message of the RTMP chunk reader: `python -m tests.bench.rtmp_chunk`.

The feed is 30 frames a second of 4 Mbit/s video with AAC between them, cut into reads as a socket would hand them out.
"""

import random
import time
from collections.abc import Callable

from ingest.rtmp.chunk import ChunkReader, ChunkWriter
from ingest.rtmp.connection import Connection
from ingest.rtmp.message import Message, MessageType
from tests.unit.rtmp.pair import accepted_connection

FRAMES = 1500
READ_BYTES = 65536


def feed_messages(seed: int = 1) -> list[Message]:
    rng = random.Random(seed)
    messages = []
    for frame in range(FRAMES):
        size = 70_000 if frame % 60 == 0 else rng.randint(10_000, 20_000)
        messages.append(Message(MessageType.VIDEO, frame * 33, bytearray(rng.randbytes(size)), 1))
        messages.append(Message(MessageType.AUDIO, frame * 33 + 5, bytearray(rng.randbytes(350)), 1))
    return messages


def wire(messages: list[Message], chunk_size: int) -> tuple[list[memoryview], int]:
    """The reads a socket would give when every message is sent by itself, and the number of chunks."""
    writer = ChunkWriter()
    reads = [memoryview(writer.set_chunk_size(chunk_size))]
    for message in messages:
        data = memoryview(writer.write(4 if message.type_id == MessageType.AUDIO else 6, message))
        reads += [data[at : at + READ_BYTES] for at in range(0, len(data), READ_BYTES)]
    return reads, sum(-(-len(message.body) // chunk_size) for message in messages)


def best_ns(run: Callable[[], int], rounds: int = 5) -> int:
    times = []
    for _ in range(rounds):
        start = time.process_time_ns()
        run()
        times.append(time.process_time_ns() - start)
    return min(times)


def read_all(reads: list[memoryview]) -> int:
    reader = ChunkReader()
    return sum(len(reader.feed(data)) for data in reads)


def receive_all(reads: list[memoryview]) -> int:
    connection: Connection = accepted_connection()
    return sum(len(connection.receive_data(data)) for data in reads)


def main() -> None:
    messages = feed_messages()
    megabits = sum(len(message.body) for message in messages) * 8 / 1e6
    print(
        f"{'chunk':>6} {'what':<12} {'ns/chunk':>9} {'ns/message':>11} {'Gbit/s':>7} {'% of a core per 4 Mbit/s':>25}"
    )
    for chunk_size in (128, 4096, 65536):
        reads, chunks = wire(messages, chunk_size)
        for what, run in (("reader", read_all), ("connection", receive_all)):
            ns = best_ns(lambda run=run, reads=reads: run(reads))  # type: ignore[misc]
            print(
                f"{chunk_size:>6} {what:<12} {ns / chunks:>9.0f} {ns / len(messages):>11.0f}"
                f" {megabits / ns * 1e6:>7.1f} {ns / 1e9 * 100 / (megabits / 4):>25.4f}"
            )


if __name__ == "__main__":
    main()
