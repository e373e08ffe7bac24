"""JSON over HTTP from the provider: bounded in time and size; no redirects, no proxy, no cookies kept."""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from core.staff.oidc.errors import ProviderAway, Untrusted


@dataclass(frozen=True, slots=True)
class Limits:
    """`step_s` for connecting and each read, `whole_s` for an answer; `at_once` people may wait for the provider."""

    step_s: float = 5
    whole_s: float = 10
    max_bytes: int = 256 * 1024
    at_once: int = 8


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Mapping[str, Any]


class Http:
    """Asked in threads. A client each time: nothing that one person's answer sets is sent with another's."""

    def __init__(self, limits: Limits = Limits(), clock_s: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock_s = limits, clock_s
        self._trusted = ssl.create_default_context()

    def get(self, url: str, *, bearer: str = "") -> Answer:
        return self._ask("GET", url, headers={"authorization": f"Bearer {bearer}"} if bearer else {})

    def post(self, url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None = None) -> Answer:
        return self._ask("POST", url, data=form, auth=basic)

    def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Answer:
        """Raises ProviderAway, or Untrusted where the answer is no JSON object or too large."""
        until_s = self._clock_s() + self._limits.whole_s
        # identity: what a small compressed answer unfolds to would have no bound
        plain = {"accept": "application/json", "accept-encoding": "identity", **(headers or {})}
        try:
            with (
                httpx.Client(verify=self._trusted, timeout=self._limits.step_s, trust_env=False) as client,
                client.stream(method, url, headers=plain, data=data, auth=auth) as answer,
            ):
                if answer.status_code >= 500:
                    raise ProviderAway(f"{_place(url)} answered {answer.status_code}")
                return Answer(answer.status_code, _json_object(self._read(answer, until_s), url))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderAway(f"{_place(url)} does not answer: {type(error).__name__}") from error

    def _read(self, answer: httpx.Response, until_s: float) -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise Untrusted("the provider compressed its answer, unasked")
        body = bytearray()
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > self._limits.max_bytes:
                raise Untrusted("the provider's answer is too large")
            if self._clock_s() > until_s:
                raise ProviderAway("the provider's answer takes too long")
        return bytes(body)


def _json_object(body: bytes, url: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Untrusted(f"{_place(url)} did not answer with a JSON object")
    return found


def _place(url: str) -> str:
    """An address for the log: no query, which may hold what is none of its business."""
    return url.partition("?")[0]
