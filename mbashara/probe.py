"""Asking another of our processes, over its Unix socket, whether it answers and what it counts."""

import socket
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

TIMEOUT_S = 2.0


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
