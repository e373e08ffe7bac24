"""Asking another of our processes, over its Unix socket: whether it answers, what it counts, and to look again."""

import socket
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from core.workers import channel_worker
from mbashara.settings import Settings

TIMEOUT_S = 2.0
SHUT_OUT = b"the database is away"
DISK_REFUSES, MEMORY_REFUSES = b"disk refuses recordings", b"memory folder refuses"
"""What media says of its health where the database does not let it read, or one of these does not take what it writes:
all that is so at once, whatever the status says."""


class UnixConnection(HTTPConnection):
    """The standard library's HTTP client on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.stem, timeout=TIMEOUT_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self.path))


def get(path: Path, target: str) -> str | None:
    """The body of a 200 answer; None for anything else. Blocks: for a thread."""
    with closing(UnixConnection(path)) as connection:
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.read().decode() if answer.status == HTTPStatus.OK else None
        except (OSError, HTTPException, UnicodeDecodeError):
            return None


def health(path: Path) -> tuple[int, bytes] | None:
    """Its status and what it says; None: nobody answers. Blocks: for a thread."""
    with closing(UnixConnection(path)) as connection:
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return None


def refresh(settings: Settings, slug: str) -> bool:
    """Has the channel's media worker read its book anew: True when that is in force. After a commit; False is no
    trouble, only later: it looks by itself every two seconds, and knows what it knew while it has no database. Blocks:
    for a thread."""
    return _refresh(settings.socket(f"media-{channel_worker(slug, settings.media_workers)}")) is True


def refresh_all(settings: Settings) -> bool:
    """The same of every media process of this machine, however many `up` was told to start; False: one that runs did
    not, and lets in whom it let in before."""
    return False not in [_refresh(path) for path in settings.socket("media").parent.glob("media-*.sock")]


def _refresh(path: Path) -> bool | None:
    """None: no process is there, so none lets anyone in."""
    with closing(UnixConnection(path)) as connection:
        try:
            connection.request("POST", "/refresh")
            return connection.getresponse().status == HTTPStatus.NO_CONTENT
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except (OSError, HTTPException):
            return False
