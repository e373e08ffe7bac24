"""A feed whose every picture carries the clock, and a page that plays previews and reads it: what test_preview uses."""

import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

from mbashara.settings import Settings
from tests.live.media_files import FFMPEG
from tests.up import ROOT, Up

WIDTH, HEIGHT, BLOCK, BITS, FPS = 384, 216, 16, 24, 25
SCRIPT = ROOT / "ingest" / "console" / "scripts" / "preview.js"
PAGE = (
    f"<!doctype html><title>preview</title><script>const BLOCK = {BLOCK}, BITS = {BITS};</script>"
    """
<script type="module">
import { connect } from '/preview.js';
window.viewers = [];
function clock(video) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [BLOCK * BITS, BLOCK];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0, BLOCK * BITS, BLOCK, 0, 0, BLOCK * BITS, BLOCK);
  const { data } = context.getImageData(0, 0, BLOCK * BITS, BLOCK);
  const middle = (n) => 4 * (BLOCK * BITS * (BLOCK / 2) + n * BLOCK + BLOCK / 2);
  let value = 0;
  for (let n = 0; n < BITS; n++) value = value * 2 + (data[middle(n)] > 127);
  return value;
}
window.watch = async (url, options = {}) => {
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true });
  document.body.append(video);
  const viewer = { states: [], delays: [], frames: 0, began: Date.now(), firstMs: null };
  window.viewers.push(viewer);
  const look = () => {
    viewer.frames++;
    viewer.firstMs ??= Date.now() - viewer.began;
    viewer.delays.push((Date.now() - clock(video)) & (2 ** BITS - 1));
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  try {
    viewer.stop = await connect(video, url, { ...options, onstate: (state) => viewer.states.push(state) });
  } catch (error) {
    return { reason: error.reason, status: error.status, text: error.text };
  }
  return null;
};
window.ready = true;
</script>"""
)


def picture(now_ms: int) -> bytes:
    """Gray, with the clock's low bits as black and white blocks in the upper left."""
    row = b"".join(b"\xff" * BLOCK if now_ms >> (BITS - 1 - n) & 1 else b"\0" * BLOCK for n in range(BITS))
    return (row + b"\x80" * (WIDTH - len(row))) * BLOCK + b"\x80" * (WIDTH * (HEIGHT - BLOCK))


class ClockFeed:
    """ffmpeg as a venue's encoder without B-frames, fed with pictures of the wall clock, and a tone of 1 kHz."""

    def __init__(self, url: str) -> None:
        line = (
            f"{FFMPEG} -v error -f rawvideo -pix_fmt gray -s {WIDTH}x{HEIGHT} -r {FPS} -probesize 32 -i pipe:0 "
            f"-re -f lavfi -i sine=frequency=1000:sample_rate=48000 -map 0:v -map 1:a -c:v libx264 -preset ultrafast "
            f"-tune zerolatency -pix_fmt yuv420p -g 50 -sc_threshold 0 -c:a aac -ac 2 -b:a 96k -shortest "
            "-flush_packets 1 -f flv"
        )
        self._process = subprocess.Popen([*line.split(), url], stdin=subprocess.PIPE)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(60)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _draw(self) -> None:
        assert self._process.stdin is not None
        next_s = time.monotonic()
        while not self._stopped.wait(max(0.0, next_s - time.monotonic())):
            next_s += 1 / FPS
            try:
                self._process.stdin.write(picture(round(time.time() * 1000)))
                self._process.stdin.flush()
            except OSError:
                return


@contextmanager
def clock_feed(url: str) -> Iterator[ClockFeed]:
    feed = ClockFeed(url)
    try:
        yield feed
    finally:
        feed.stop()


def ask_media(up: Up, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Of the media process on its own socket, as the web process does."""
    connection = HTTPConnection("media", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(Settings(data=up.data).socket("media-0")))
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def meters(up: Up, slug: str, role: str = "primary") -> dict[str, Any]:
    """Empty where nobody watches."""
    status, _, body = ask_media(up, "GET", f"/preview/meters?channel={slug}&role={role}")
    found: dict[str, Any] = json.loads(body) if status == 200 else {}
    return found


@contextmanager
def page_server(up: Up) -> Iterator[str]:
    """In the console's place: the page, its script, and a pass-through that asks nobody for a right."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            script = self.path == "/preview.js"
            body = SCRIPT.read_bytes() if script else PAGE.encode()
            self._say(200, {"content-type": "text/javascript" if script else "text/html"}, body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            self._say(*ask_media(up, self.command, self.path, body))

        do_DELETE = do_POST

        def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name in ("content-type", "location", "retry-after"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
