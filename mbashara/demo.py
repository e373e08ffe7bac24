"""The demo feed: a moving test card with a burned-in wall clock and a tone,
published by a real ffmpeg over real RTMP to `mfano`.

The clock's digits are drawn here, from a 5 x 7 dot font, and laid over the card by ffmpeg: a bare machine has
no font file.
"""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import structlog
from sqlalchemy.orm import Session

from core import cage
from core.channels import ChannelError, add_channel, rotate_keys
from core.database import DatabaseAway, open_engine, transaction
from core.plain import N_
from mbashara import logs
from mbashara.settings import Settings
from mbashara.words import say

CHANNEL, NAME_SW, NAME_EN = "mfano", "Chaneli ya mfano", "Demo channel"
FRAMES_PER_S = 25
GOP_FRAMES = 2 * FRAMES_PER_S
GLYPH_WIDTH, GLYPH_HEIGHT = 5, 7
CLOCK_FORMAT = "0000-00-00 00:00:00.000"
CLOCK_WIDTH, CLOCK_HEIGHT = (GLYPH_WIDTH + 1) * len(CLOCK_FORMAT) + 3, GLYPH_HEIGHT + 4
RETRY_S = 1.0

# Rows of dots, top to bottom, as five-bit numbers: 16 is the leftmost dot.
GLYPHS: dict[str, tuple[int, ...]] = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    ":": (0, 4, 4, 0, 4, 4, 0),
    ".": (0, 0, 0, 0, 0, 12, 12),
    "-": (0, 0, 0, 14, 0, 0, 0),
    " ": (0, 0, 0, 0, 0, 0, 0),
}

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.demo")


def clock_text(now: datetime) -> str:
    return f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03}"


def clock_frame(text: str) -> bytes:
    """The text as one grey frame of CLOCK_WIDTH x CLOCK_HEIGHT: white dots on black, two dots of margin."""
    blank = bytes(CLOCK_WIDTH)
    rows = [b"\0\0" + b"".join(_dots(GLYPHS[letter][row]) for letter in text) + b"\0" for row in range(GLYPH_HEIGHT)]
    return b"".join([blank, blank, *rows, blank, blank])


def _dots(bits: int) -> bytes:
    return bytes(235 if bits >> (GLYPH_WIDTH - 1 - column) & 1 else 0 for column in range(GLYPH_WIDTH)) + b"\0"


def ffmpeg_command(
    url: str, *, card: str = "testsrc2", tone: str = "sine=frequency=440:beep_factor=2", volume: float = 0.25,
    lasts_s: float = 0.0,
) -> list[str]:  # fmt: skip
    """720p25 at 2.5 Mbit/s, a keyframe every 2 s, AAC at 48 kHz. The clock comes in on standard input and sets the
    pace. `lasts_s` 0: until it is stopped."""
    clock = f"-f rawvideo -pixel_format gray -video_size {CLOCK_WIDTH}x{CLOCK_HEIGHT} -framerate {FRAMES_PER_S}"
    picture = f"-f lavfi -i {card}=size=1280x720:rate={FRAMES_PER_S}"
    sound = f"-f lavfi -i {tone}:sample_rate=48000"
    enlarge = "[0:v]scale=iw*6:ih*6:flags=neighbor,format=yuv420p[clock]"
    lay_over = f"-filter_complex {enlarge};[1:v][clock]overlay=(W-w)/2:H-h-40:shortest=1[v]"
    encode = "-c:v libx264 -preset veryfast -tune zerolatency -profile:v high -pix_fmt yuv420p"
    rate = f"-b:v 2500k -maxrate 2500k -bufsize 2500k -g {GOP_FRAMES} -keyint_min {GOP_FRAMES} -sc_threshold 0"
    audio = f"-map 2:a -c:a aac -b:a 128k -ac 2 -filter:a volume={volume} -shortest"
    limit = f"-t {lasts_s:.0f} " if lasts_s else ""
    options = (
        f"-hide_banner -loglevel warning -nostats {clock} -i pipe:0 {picture} {sound} {lay_over} "
        f"-map [v] {encode} {rate} {audio} {limit}-f flv -flvflags no_duration_filesize"
    )
    return [imageio_ffmpeg.get_ffmpeg_exe(), *options.split(), url]


def command(settings: Settings) -> str:
    """This program as it was called, with the same data and addresses: what its owner can type in another terminal."""
    called = [sys.argv[0]] if Path(sys.argv[0]).name == "mbashara" else [sys.executable, "-m", "mbashara"]
    if shutil.which("mbashara") == os.path.abspath(called[0]):
        called = ["mbashara"]
    usual = Settings.model_construct(data=Path("data").absolute())
    own = {name: str(getattr(settings, name)) for name in ("data", "http", "rtmp")}
    told = [
        f"MBASHARA_{name.upper()}={shlex.quote(value)}"
        for name, value in own.items()
        if value != str(getattr(usual, name))
    ]
    return " ".join([*told, shlex.join(called)])


def instructions(http: str, rtmp: str, command: str) -> str:
    """What the demo's owner is told once it runs."""
    elsewhere = (
        (N_("Your own channel"), f"{command} channel add ikulu --name-sw Ikulu --name-en 'State House'"),
        (N_("In OBS, with the primary key that it prints as stream key: the server"), rtmp),
        (N_("Or with ffmpeg"), f"ffmpeg -re -i FILE -c:v libx264 -g 50 -c:a aac -f flv {rtmp}/KEY"),
        (N_("Watch it"), f"{http}/sw/live/ikulu"),
        (N_("The engineers' console"), f"{command} user add YOU@EXAMPLE --name 'Your Name'"),
        (N_("Open the link that it prints, set a password and log in"), f"{http}/sw/console"),
    )
    return "\n".join(
        [
            "",
            f"{say('Watch')}:  {http}/sw/live/{CHANNEL}   {http}/en/live/{CHANNEL}",
            "",
            say("In another terminal, in this folder:"),
            *(f"{say(words)}:\n    {line}" for words, line in elsewhere),
            "",
            say("Ctrl-C ends everything."),
        ]
    )


def stream_key(settings: Settings) -> str:
    """The demo channel's key, kept in DATA/secrets alone. Makes the
    channel once; raises DatabaseAway while it can't."""
    saved = settings.data / "secrets" / "demo-key"
    if saved.exists():
        return saved.read_text()
    pepper, now = settings.pepper_file.read_bytes(), datetime.now(UTC)
    engine = open_engine(settings.sqlalchemy_url)
    try:
        with transaction(engine) as session:
            key = _make_channel(session, pepper, now)
    finally:
        engine.dispose()
    _save(saved, key)
    return key


def _make_channel(session: Session, pepper: bytes, now: datetime) -> str:
    try:
        keys = add_channel(session, CHANNEL, name_sw=NAME_SW, name_en=NAME_EN, pepper=pepper, now=now)
    except ChannelError:  # made before, but its key was lost
        keys = rotate_keys(session, CHANNEL, pepper=pepper, now=now)
    return keys.primary_key


def _save(path: Path, key: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(key)
    temporary.replace(path)


async def publish(settings: Settings) -> int:
    """Runs one ffmpeg until it ends (the server went away, say); the supervisor starts us again."""
    url = f"rtmp://{settings.rtmp_address.reachable}/live/{await _key_when_possible(settings)}"
    process = await asyncio.create_subprocess_exec(
        *ffmpeg_command(url),
        stdin=asyncio.subprocess.PIPE,
        preexec_fn=partial(cage.die_with_parent, os.getpid(), signal.SIGTERM),
    )
    assert process.stdin is not None
    log.info("demo feed starts", channel=CHANNEL)
    with suppress(BrokenPipeError, ConnectionResetError):
        await feed_clock(process.stdin)
    return await process.wait()


async def _key_when_possible(settings: Settings) -> str:
    while True:
        try:
            return await asyncio.to_thread(stream_key, settings)
        except DatabaseAway:
            await asyncio.sleep(RETRY_S)


async def feed_clock(pipe: asyncio.StreamWriter) -> None:
    """One frame of the clock every 40 ms; the frames' count is the pace,
    so a late wake-up does not slow the feed."""
    loop = asyncio.get_running_loop()
    for due_s in _ticks(loop.time()):
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        pipe.write(clock_frame(clock_text(datetime.now().astimezone())))
        await pipe.drain()


def _ticks(start_s: float) -> Iterator[float]:
    frame = 0
    while True:
        yield start_s + frame / FRAMES_PER_S
        frame += 1


def main() -> int:
    settings = Settings()
    logs.configure("demo", settings.log_level)
    return asyncio.run(publish(settings))


if __name__ == "__main__":
    raise SystemExit(main())
