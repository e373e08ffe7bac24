"""A channel's media worker: core/workers.py and the edge's nginx must agree, for any number of workers."""

import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from core.workers import channel_worker
from mbashara import edge
from mbashara.settings import Settings
from tests.up import STOP_TIMEOUT_S, data_folder, get, until

BROADCAST = "01jdx0000000000000000edge0"
SLUGS = ["ikulu", "bunge", "inec", "mfano", "a", "x" * 40, "tbc-1", "tbc-2", "0", "-", *(f"c{n}" for n in range(30))]


class Worker(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


def worker(path: Path, index: int) -> Worker:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(str(index))))
            self.end_headers()
            self.wfile.write(str(index).encode())

        def address_string(self) -> str:
            return "edge"

        def log_message(self, *_: object) -> None: ...

    server = Worker(str(path), Handler)
    path.chmod(0o777)  # nginx's workers are not the one who runs this test
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def edge_before(workers: int) -> Iterator[str]:
    """The real nginx with the real configuration, before `workers` that say which they are."""
    with data_folder() as data:
        settings = Settings(data=data, http=f"127.0.0.1:{free_port()}", media_workers=workers)
        for folder in (settings.public, settings.run / "sock", settings.run / "nginx"):
            folder.mkdir(parents=True)
        servers = [worker(settings.socket(f"media-{index}"), index) for index in range(workers)]
        edge.configuration_file(settings).write_text(edge.render(settings, user="", open_files=1024))
        nginx = subprocess.Popen(edge.command(settings), stderr=subprocess.DEVNULL)
        try:
            until(lambda: get(f"http://{settings.http}/live/x")[0] == 404, "nginx does not answer")
            yield f"http://{settings.http}"
        finally:
            nginx.terminate()
            nginx.wait(STOP_TIMEOUT_S)
            for server in servers:
                server.shutdown()
                server.server_close()


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_nginx_takes_the_same_worker(workers: int) -> None:
    with edge_before(workers) as url:
        found = {slug: get(f"{url}/live/{slug}/{BROADCAST}/source/index.m3u8?_HLS_msn=1")[1].decode() for slug in SLUGS}
    assert found == {slug: str(channel_worker(slug, workers)) for slug in SLUGS}
    assert len(Counter(found.values())) == workers, "the channels above meet every worker"
