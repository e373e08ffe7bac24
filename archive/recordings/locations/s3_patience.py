"""How long a server may take over an answer. A timeout begins anew with each byte, so one that sends a byte now and
then would hold a thread for good: here all waiting for an answer is added up."""

import io
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, cast

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WAIT_S = 300.0
"""For all of an answer; S3 may take minutes over the end of an upload, and sends blanks meanwhile."""
LEAST_BYTES_PER_S = 1024
"""What comes as fast as this may come for longer."""


class _Patient(io.RawIOBase):
    def __init__(self, source: io.RawIOBase) -> None:
        self._source, self._waited_s, self._received = source, 0.0, 0

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._source.fileno()

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        began_s = time.monotonic()
        size = cast(int | None, self._source.readinto(buffer))
        self._waited_s += time.monotonic() - began_s
        self._received += size or 0
        if self._waited_s > WAIT_S + self._received / LEAST_BYTES_PER_S:
            raise TimeoutError(f"{self._received} bytes in {self._waited_s:.0f} seconds")
        return size

    def close(self) -> None:
        self._source.close()
        super().close()


class PatientResponse(HTTPResponse):
    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.fp: Any = io.BufferedReader(_Patient(cast(io.BufferedReader, self.fp).detach()))


def bound_answers() -> None:
    """Of every client that boto makes in this process: it has no setting for this."""
    for connection in (AWSHTTPConnection, AWSHTTPSConnection):
        connection.response_class = PatientResponse  # type: ignore[assignment]
