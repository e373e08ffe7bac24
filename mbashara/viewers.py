"""The counter of viewers in the work process: a thread that reads what the edge tells by UDP (player/audience.py says
of what), a file for the web process, and samples in the database.

The supervisor holds the socket, so nothing is refused while this process restarts. Datagrams may get lost: a player
asks several times within the window.
"""

import json
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime

import structlog
from sqlalchemy import Engine

from core.broadcasts import viewers
from core.broadcasts.viewers import NOBODY, Viewers
from core.database import transaction
from mbashara.settings import LOOPBACK, Settings
from player.audience import Audience, read_datagram

FD_VARIABLE = "MBASHARA_VIEWERS_FD"
HOST = LOOPBACK[""]
MAX_DATAGRAM = 2048
WAIT_S = 5.0
STALE_S = 10.0
SALT_BYTES = 16

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.viewers")


def bind(port: int) -> socket.socket:
    """Of this machine alone. Raises OSError."""
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    door.bind((HOST, port))
    return door


def inherited() -> socket.socket | None:
    """The supervisor's, if there is one."""
    number = os.environ.get(FD_VARIABLE)
    return None if number is None else socket.socket(fileno=int(number))


class Counter:
    """`tell` is called about once a second, by the process's own rounds."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._path, self._engine = settings.viewers_file, engine
        self._lock = threading.Lock()
        self._day, self._audience = _today(), Audience(secrets.token_bytes(SALT_BYTES))
        self._most: dict[str, Viewers] = {}
        self._kept_s = time.monotonic()

    def read(self, door: socket.socket, stopping: threading.Event) -> None:
        """The thread: until the process stops."""
        door.settimeout(WAIT_S)
        while not stopping.is_set():
            try:
                data = door.recv(MAX_DATAGRAM)
            except TimeoutError:
                continue
            request = read_datagram(data)
            if request is not None:
                with self._lock:
                    self._audience.see(request, time.monotonic())

    def tell(self) -> None:
        """Raises DatabaseAway, having lost nothing."""
        with self._lock:
            found = self._audience.count(time.monotonic())
            if self._day != _today():  # who stays is counted again within seconds, under another name
                self._day, self._audience = _today(), Audience(secrets.token_bytes(SALT_BYTES))
        try:
            _write(self._path, found)
        except OSError as error:  # the memory folder is full: web says that it doesn't know
            log.warning("viewers can't be told", reason=str(error))
        for slug, now in found.items():
            self._most[slug] = max(now, self._most.get(slug, NOBODY), key=lambda one: one.viewers)
        if time.monotonic() - self._kept_s >= viewers.SAMPLE_S:
            self._kept_s = time.monotonic()
            with transaction(self._engine) as session:
                viewers.keep(session, self._most, datetime.now(UTC))
            self._most = {}


def read_file(settings: Settings) -> dict[str, Viewers] | None:
    """What the counter told last, by channel; None where it is silent."""
    try:
        with settings.viewers_file.open() as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > STALE_S:
                return None
            return {slug: Viewers(**found) for slug, found in json.load(file).items()}
    except (OSError, ValueError, TypeError):
        return None


def _write(path: os.PathLike[str], found: dict[str, Viewers]) -> None:
    fresh = f"{os.fspath(path)}.new"
    with open(fresh, "w") as file:
        json.dump({slug: asdict(one) for slug, one in found.items()}, file)
    os.replace(fresh, path)


def _today() -> int:
    return datetime.now(UTC).toordinal()
