"""Starts the servers under measurement: nginx-rtmp making HLS, and `mbashara up`, each in its own folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path

from core.channels import add_channel
from mbashara.cli.common import database
from mbashara.settings import Settings

_NGINX = "/usr/sbin/nginx"
_RTMP_MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so"  # Debian's libnginx-mod-rtmp
_START_S = 120.0

_NGINX_RTMP_CONF = """
load_module {module};
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
rtmp {{ server {{
    listen 127.0.0.1:{port};
    chunk_size 4096;
    access_log off;
    application live {{ live on; hls on; hls_path {folder}/hls; hls_fragment 4s; hls_playlist_length 60s; }}
}} }}
"""


class Missing(Exception):
    """What a bench needs is not on this machine."""


@dataclass(slots=True, frozen=True)
class NginxRtmp:
    pid: int
    rtmp_url: str
    folder: Path


@dataclass(slots=True, frozen=True)
class Floor:
    pid: int
    rtmp_url: str
    disk: Path
    memory: Path


@dataclass(slots=True, frozen=True)
class Mbashara:
    pid: int
    rtmp_url: str
    http_url: str
    data: Path

    @property
    def run_dir(self) -> Path:
        return Settings(data=self.data).run

    def channels_add(self, slugs: list[str]) -> list[str]:
        """Add channels; the answer is their primary stream keys. One process: a command each would take minutes."""
        settings = Settings(data=self.data)
        pepper, now = settings.pepper_file.read_bytes(), datetime.now(UTC)
        with database(settings) as session:
            return [
                add_channel(session, slug, name_sw=slug, name_en=slug, pepper=pepper, now=now).primary_key
                for slug in slugs
            ]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def nginx_rtmp(folder: Path) -> Iterator[NginxRtmp]:
    if not (Path(_NGINX).exists() and Path(_RTMP_MODULE).exists()):
        raise Missing("nginx-rtmp is not installed (Debian: nginx-light libnginx-mod-rtmp)")
    (folder / "hls").mkdir(parents=True, exist_ok=True)
    port = free_port()
    conf = folder / "nginx.conf"
    conf.write_text(_NGINX_RTMP_CONF.format(module=_RTMP_MODULE, folder=folder, port=port, user=getuser()))
    process = subprocess.Popen([_NGINX, "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log")])
    with _ended(process):
        _await_port(process, port)
        yield NginxRtmp(process.pid, f"rtmp://127.0.0.1:{port}/live", folder)


@contextmanager
def floor(folder: Path, streams: int) -> Iterator[Floor]:
    """floor.c, built here."""
    program, port = folder / "floor", free_port()
    made = Floor(0, f"rtmp://127.0.0.1:{port}/live", folder / "disk", Path(f"/dev/shm/mbashara-floor-{port}"))
    made.disk.mkdir(parents=True)
    source = Path(__file__).with_name("floor.c")
    try:
        subprocess.run(["cc", "-O2", "-o", program, source, "-lcrypto"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing("floor.c can't be built (Debian: gcc libssl-dev)") from error
    made.memory.mkdir()
    command = [str(program), str(port), str(made.memory), str(made.disk), str(streams)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        with _ended(process):
            _await_ready(process, "floor")
            yield replace(made, pid=process.pid)
    finally:
        shutil.rmtree(made.memory, ignore_errors=True)


@contextmanager
def mbashara(
    data: Path, environment: dict[str, str] | None = None, arguments: tuple[str, ...] = ()
) -> Iterator[Mbashara]:
    """`mbashara up` on free ports; `environment` adds MBASHARA_* settings."""
    data.mkdir(parents=True, exist_ok=True)
    http, rtmp = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mbashara", "up", "--data", str(data), "--http", http, "--rtmp", rtmp]
    log = (data.parent / "up.log").open("wb")
    environment = {**os.environ, **(environment or {})}
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    up = Mbashara(process.pid, f"rtmp://{rtmp}/live", f"http://{http}", data)
    try:
        with log, _ended(process):
            _await_ready(process, log.name)
            yield up
    finally:
        shutil.rmtree(up.run_dir, ignore_errors=True)  # memory, which the next bench needs


@contextmanager
def _ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    signal.signal(signal.SIGTERM, _leave)  # else a bench that is ended from outside leaves its servers behind
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
    raise Missing("nginx-rtmp did not start")


def _await_ready(process: subprocess.Popen[str], log: str) -> None:
    assert process.stdout
    for line in process.stdout:  # ends when the supervisor does
        if line.startswith("ready"):
            return
    raise Missing(f"it ended before it was ready, see {log}")
