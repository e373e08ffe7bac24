"""A whole `mbashara up` for tests: real processes, PostgreSQL, nginx, on free ports, in a folder of its own."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import psycopg

from core.channels import DEFAULT_INSTITUTION, ChannelKeys, add_channel
from core.database import open_engine, transaction
from mbashara import postgres, probe
from mbashara.data import prepare
from mbashara.settings import Settings

# Limits of what hangs, for a machine that is slow and does much else too: no test is to show how quick it is.
START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 60
WAIT_TIMEOUT_S = 300
COMMAND_TIMEOUT_S = 300
HURRY_S = 0.5
FIRST = -10  # the niceness of what is watched by the clock
ROOT = Path(__file__).parent.parent


@dataclass(slots=True)
class Up:
    """A running program. `rtmp_url` ends in /live: add /KEY."""

    process: subprocess.Popen[str]
    data: Path
    log: Path
    http_url: str = ""
    rtmp_url: str = ""

    @property
    def run(self) -> Path:
        return Settings(data=self.data).run

    def database_url(self, name: str = "mbashara") -> str:
        """Of its embedded server, as the superuser."""
        return Settings(data=self.data).sqlalchemy_url.replace("/mbashara?", f"/{name}?")

    def channel_add(self, slug: str, institution: str = DEFAULT_INSTITUTION) -> ChannelKeys:
        """As `channel_add_by_command`, without the second that a command takes. Media knows it then."""
        settings, engine = Settings(data=self.data), open_engine(self.database_url())
        pepper, names = settings.pepper_file.read_bytes(), {"name_sw": f"Chaneli {slug}", "name_en": f"Channel {slug}"}
        try:
            with transaction(engine) as session:
                keys = add_channel(
                    session, slug, **names, institution=institution, pepper=pepper, now=datetime.now(UTC)
                )
        finally:
            engine.dispose()
        probe.refresh(settings, slug)
        until(lambda: get(f"{self.http_url}/live/{slug}/state.json")[0] == 200, f"media does not know {slug}")
        return keys

    def channel_add_by_command(self, slug: str, *more: str) -> ChannelKeys:
        names = ["--name-sw", f"Chaneli {slug}", "--name-en", f"Channel {slug}"]
        told = json.loads(command(self.data, "channel", "add", slug, *names, "--json", *more).stdout)
        return ChannelKeys(slug, told["primary_key"], told["backup_key"])

    def person_add(self, email: str, password: str, *more: str, name: str = "Asha Juma") -> None:
        """By default an admin of the platform."""
        words = ["user", "add", email, "--name", name, "--password-stdin", *more]
        told = tell(password, self.data, *words)
        assert told.returncode == 0, told.stderr

    def recording_states(self, channel: str = "") -> dict[str, str]:
        """By id; of one channel, or of all. For whoever asks until something is so: the database is asked, as a command
        each time would take a processor from those who are waited for."""
        query = """
            select recording.id, recording.state, channel.slug
            from recording join broadcast on broadcast_id = broadcast.id join channel on channel_id = channel.id
        """
        with psycopg.connect(self.database_url()) as server:
            return {one: state for one, state, slug in server.execute(query) if channel in ("", slug)}

    def recordings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(command(self.data, "recording", "list", "--json").stdout)
        return found

    def children(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads((self.run / "supervisor.json").read_text())["children"]
        return found

    def process_id(self, name: str) -> int:
        """Of a child: postgres, media-0, web, work, edge."""
        return int(self.children()[name]["process_id"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Returns the process id that it had."""
        process_id = self._running_id(name)
        os.kill(process_id, number)
        return process_id

    @contextmanager
    def kept_away(self, name: str) -> Iterator[int]:
        """A child that is killed, and that nobody starts again meanwhile; its process id of before."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            old = psutil.Process(self.kill(name))
            until(lambda: old.status() == psutil.STATUS_ZOMBIE, f"{name} survives")
            yield old.pid
        finally:
            self.process.send_signal(signal.SIGCONT)
        self.wait_restarted(name, old.pid)

    def _running_id(self, name: str) -> int:
        """A child that waits to be restarted has process id 0, and a signal to 0 is for all of us: it is awaited."""
        until(lambda: self.process_id(name) != 0, f"{name} does not run")
        return self.process_id(name)

    @contextmanager
    def hurrying(self, module: str) -> Iterator[None]:
        """Gives processes of ours that step back for everyone their share for as long: other tests keep this machine
        busy for minutes. `module` is theirs: mbashara.stills, mbashara.import_file, mbashara.export_file."""

        def hurry_them() -> None:
            for process in _with_children(self.process.pid):
                with suppress(psutil.Error):
                    if module in process.cmdline():
                        hurry(process.pid, 0)

        with _again_and_again(hurry_them):
            yield

    @contextmanager
    def airing_first(self, beside: Callable[[], Iterable[int]] = tuple) -> Iterator[None]:
        """What is watched by the clock goes before all else that tests do on this machine for as long: media with its
        ladders, the edge, and processes `beside` the program, an encoder or a browser; whichever there are by then."""

        def put_first() -> None:
            for name in ("media-0", "edge"):
                hurry(self.process_id(name), FIRST)
            for process_id in beside():
                hurry(process_id, FIRST)

        with _again_and_again(put_first):
            yield

    def wait_restarted(self, name: str, old_process_id: int) -> None:
        until(lambda: self.process_id(name) not in (0, old_process_id), f"{name} did not come back")

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(get(f"{self.http_url}/healthz")[1])
        return found

    def wait_healthy(self) -> None:
        until(lambda: get(f"{self.http_url}/healthz")[0] == 200, "not healthy again")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)


def hurry(process_id: int, nice: int) -> None:
    """As much of the machine as that niceness gives, for all its threads and all that it has started, and for their
    sessions (sched(7), autogroup)."""
    for one in _with_children(process_id):
        with suppress(OSError):  # root alone may; or it is over
            for task in Path(f"/proc/{one.pid}/task").iterdir():
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, int(task.name), nice)
            if os.getsid(one.pid) != os.getsid(0):
                Path(f"/proc/{one.pid}/autogroup").write_text(str(nice))


def _with_children(process_id: int) -> list[psutil.Process]:
    """None where it is over, or not begun again yet (0)."""
    try:
        first = psutil.Process(process_id)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def _again_and_again(do: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        do()
        while not over.wait(HURRY_S):
            do()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def until(
    holds: Callable[[], bool],
    otherwise: str | Callable[[], str],
    timeout_s: float = WAIT_TIMEOUT_S,
    step_s: float = 0.1,
) -> None:
    """Asks until it holds: the world of other processes has no clock that a test could pass in. `otherwise` says what
    is wrong, or how things stand by then."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(step_s)


def is_over(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two
        return True


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers (names in lower case), whatever the status. Status 0: no connection."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer = direct.open(urllib.request.Request(url, headers=headers or {}), timeout=WAIT_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        answer = error
    except OSError:
        return 0, b"", {}
    with answer:
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def environment(**settings: object) -> dict[str, str]:
    """This process's, without anyone's MBASHARA_* but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MBASHARA_")}
    mine = {f"MBASHARA_{name.upper()}": str(value) for name, value in settings.items()}
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**kept, "MBASHARA_LOG_LEVEL": "info", "MBASHARA_UPLOAD_RESERVE_GB": "0", "PYTHONPATH": search, **mine}


def command(data: Path, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """One `mbashara` command on a data folder; its failure is the caller's to expect."""
    return tell(None, data, *words, **settings)


def tell(answer: str | None, data: Path, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """A command that asks for a line."""
    line, said = [sys.executable, "-m", "mbashara", *words, "--data", str(data)], None
    if answer is not None:
        said = f"{answer}\n"
    known = environment(**settings)
    return subprocess.run(line, input=said, env=known, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)


@contextmanager
def data_folder() -> Iterator[Path]:
    """A new data folder that other users can reach: pytest's own are root's alone, and children are not root's."""
    parent = Path(tempfile.mkdtemp(prefix="mbashara-test-"))
    parent.chmod(0o755)
    data = parent / "data"
    try:
        yield data
    finally:
        shutil.rmtree(parent, ignore_errors=True)
        shutil.rmtree(Settings(data=data).run, ignore_errors=True)


@contextmanager
def running(data: Path, *arguments: str, **settings: object) -> Iterator[Up]:
    """`mbashara up` on a folder, ready; stopped at the end if the test has not."""
    if not (data / "postgres").exists():
        _lay_cluster(data)
    with started(data, *arguments, **settings) as up:
        yield up


@contextmanager
def started(data: Path, *arguments: str, **settings: object) -> Iterator[Up]:
    """The same, but on a new folder it has to make its database by itself."""
    addresses = ["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"]
    line = [sys.executable, "-m", "mbashara", "up", "--data", str(data), *addresses, *arguments]
    log = data.parent / "up.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            line, env=environment(**settings), stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        )
    up = Up(process, data, log)
    watchdog = _kill_later(process)
    try:
        up.http_url, up.rtmp_url = _read_ready(up)
        watchdog.cancel()
        yield up
    finally:
        watchdog.cancel()
        if process.poll() is None:
            up.stop()


def _lay_cluster(data: Path) -> None:
    """What `up` would make first, but for a database that waits for no disk: that is against power cuts, which no test
    makes, and hundreds of tests commit."""
    prepare(Settings(data=data))
    (data / "postgres").rmdir()
    for name in ("postgres", "secrets/postgres"):
        subprocess.run(["cp", "-a", _cluster() / name, data / name], check=True)


@cache
def _cluster() -> Path:
    """A data folder with an empty one, made once in a run."""
    parent = Path(tempfile.mkdtemp(prefix="mbashara-test-"))
    parent.chmod(0o755)
    settings = Settings(data=parent / "data")
    for path in (parent, settings.run):
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    prepare(settings)
    postgres.initialise(settings)
    with (settings.data / "postgres/postgresql.auto.conf").open("a") as file:
        file.write("fsync = off\n")
    return settings.data


def _kill_later(process: subprocess.Popen[str]) -> threading.Timer:
    timer = threading.Timer(START_TIMEOUT_S, process.terminate)
    timer.daemon = True
    timer.start()
    return timer


def _read_ready(up: Up) -> tuple[str, str]:
    assert up.process.stdout is not None
    line = up.process.stdout.readline()
    assert line.startswith("ready "), f"never ready: {up.log.read_text()[-6000:]}"
    http, rtmp = (word.partition("=")[2] for word in line.split()[1:])
    return http, rtmp
