"""A time-stamp authority of one's own: `openssl ts` behind a small HTTP server, which can also misbehave."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = """
[tsa]
default_tsa = ours
[ours]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = {digests}
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[stamps]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
"""


@dataclass
class Tsa:
    """`manner` is how it answers: honest, refuses, garbage, hangs, trickles, huge, busy, forbids, replays (an answer to
    the same digest with another nonce) or mixes (an answer to another digest)."""

    folder: Path
    url: str = ""
    manner: str = "honest"
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def answer(self, query: bytes) -> bytes:
        path = self.folder / f"{len(self.asked)}.tsq"
        path.write_bytes(query)
        if self.manner in ("replays", "mixes"):
            self._ask_again(path)
        config = self.folder / ("refuses.cnf" if self.manner == "refuses" else "tsa.cnf")
        self._openssl("ts", "-reply", "-queryfile", path, "-config", config, "-out", path.with_suffix(".tsr"))
        return path.with_suffix(".tsr").read_bytes()

    def verify(self, response: bytes, data: bytes) -> bool:
        """What `openssl ts -verify` says, off line."""
        (self.folder / "kept.tsr").write_bytes(response)
        (self.folder / "data").write_bytes(data)
        given = ("-in", self.folder / "kept.tsr", "-data", self.folder / "data", "-CAfile", self.ca)
        return subprocess.run(["openssl", "ts", "-verify", *given], capture_output=True).returncode == 0

    def _ask_again(self, path: Path) -> None:
        text = self._openssl("ts", "-query", "-in", path, "-text").decode()
        lines = [line.split("-", 1)[1][:50] for line in text.splitlines() if line.startswith("    00")]
        digest = "".join(line.replace("-", " ") for line in lines).replace(" ", "")[:64]
        if self.manner == "mixes":
            digest = "0" * 64
        self._openssl("ts", "-query", "-digest", digest, "-sha256", "-cert", "-out", path)

    def _openssl(self, *arguments: object) -> bytes:
        return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout

    def make(self) -> None:
        for name, digests in (("tsa", "sha256"), ("refuses", "sha512")):
            (self.folder / f"{name}.cnf").write_text(CONFIG.format(folder=self.folder, digests=digests))
        (self.folder / "serial").write_text("01\n")
        config = ["-config", self.folder / "tsa.cnf"]
        key: list[object] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        ca = ["-keyout", self.folder / "ca.key", "-out", self.ca, "-subj", "/CN=Root", "-extensions", "ca"]
        self._openssl("req", "-x509", *config, *key, *ca)
        own = ["-keyout", self.folder / "tsa.key", "-out", self.folder / "tsa.pem", "-subj", "/CN=Stamps"]
        signed = ["-CA", self.ca, "-CAkey", self.folder / "ca.key", "-extensions", "stamps"]
        self._openssl("req", "-x509", *config, *key, *own, *signed)


def _handler(tsa: Tsa, stopping: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            tsa.asked.append({name.lower(): value for name, value in self.headers.items()})
            match tsa.manner:
                case "hangs":
                    stopping.wait(30)
                case "busy":
                    self._send(503, b"later")
                case "forbids":
                    self._send(401, b"who are you?")
                case "garbage":
                    self._send(200, b"<html>not here</html>")
                case "huge":
                    self._send(200, b"0" * (1 << 20))
                case "trickles":
                    self.send_response(200)
                    self.end_headers()
                    for _ in range(100):
                        if stopping.wait(0.05):
                            break
                        self.wfile.write(b"0")
                case _:
                    self._send(200, tsa.answer(query))

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                time.sleep(0)  # whoever asked is gone

        def log_message(self, *_: object) -> None: ...

    return Handler


@contextmanager
def running_tsa(folder: Path) -> Iterator[Tsa]:
    tsa, stopping = Tsa(folder), threading.Event()
    tsa.make()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(tsa, stopping))
    tsa.url = f"http://127.0.0.1:{server.server_port}/tsa"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield tsa
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
