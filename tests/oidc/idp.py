"""A real OpenID Connect provider (npm's oidc-provider, run by node) and the people who sign on there."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from core.staff.oidc.provider import Registration

PROGRAM = Path(__file__).parent / "provider.mjs"
SECRET = "siri ya mteja: 100%/+&"


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it is. `verified` is JSON; without a `login` the person turns back there."""

    login: str
    email: str
    verified: str = "true"
    amr: str = ""

    @property
    def form(self) -> dict[str, str]:
        return {"login": self.login, "email": self.email, "verified": self.verified, "amr": self.amr}


@dataclass(slots=True)
class Idp:
    process: subprocess.Popen[str]
    registration: Registration

    @property
    def issuer(self) -> str:
        return self.registration.issuer

    def answer(self, url: str, person: Person) -> str:
        """What a browser goes through there; returns the address that it is sent back to."""
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.get(url)
            while "location" in answer.headers:
                url = str(answer.url.join(answer.headers["location"]))
                if url.startswith(self.registration.redirect_uri):
                    return url
                answer = client.get(url)
                if "<form" in answer.text:
                    answer = client.post(url, data=person.form)
        raise AssertionError(f"the provider stopped at {url}: {answer.status_code} {answer.text[:500]}")

    def misbehave(self, **how: Any) -> None:
        """From now on, as provider.mjs says; without words it behaves."""
        self._tell("answers", json.dumps(how))

    def rotate(self) -> None:
        self._tell("rotate", "")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def _tell(self, what: str, body: str) -> None:
        assert httpx.post(f"{self.issuer}/test/{what}", content=body, trust_env=False, timeout=60).text == "ok"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(redirect_uri: str, port: int = 0) -> Iterator[Idp]:
    port = port or free_port()
    line = ["node", str(PROGRAM), str(port), redirect_uri]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    idp = Idp(
        process,
        Registration(f"http://localhost:{port}", "mbashara", SECRET, redirect_uri, "Ingia kwa SSO", "Log in by SSO"),
    )
    try:
        assert process.stdout.readline() == "ready\n", "is node there, and `npm ci` done?"
        yield idp
    finally:
        idp.stop()
