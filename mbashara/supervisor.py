"""`mbashara up`: checks that it can run, starts the machine's
processes, keeps them running, and ends them in order."""

import asyncio
import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, NamedTuple

import structlog

from core.plain import N_
from mbashara import demo, edge, postgres, probe, viewers
from mbashara.children import Child, ChildSpec, kill_group, orphans, start_time
from mbashara.data import FD_VARIABLE, account, check_run, check_space, locked, open_lock, prepare, try_lock
from mbashara.plain import DataError
from mbashara.settings import Address, Settings

TRUSTED = ("web", "work")
WRITERS = ("mbashara.media", "mbashara.work")
"""Who writes into recordings."""
NO_SECRETS = {
    f"MBASHARA_{name}": ""
    for name in (
        "SMTP_URL", "OIDC_ISSUER", "OIDC_CLIENT_SECRET", "TIMESTAMP_PASSWORD", "DATABASE_URL", "MEDIA_DATABASE_URL",
    )
}  # fmt: skip
"""For all others. Without a secret there is no issuer either, or the settings would miss it."""
BACKLOG = 1024
"""Encoders that wait in the listening socket while media restarts."""
ON_AIR = -10
"""Niceness of what viewers wait for: media, which starts its ladders far behind itself, and the edge."""
OPEN_FILES = 65536
READY_TIMEOUT_S = 90.0
STOP_ORDER = ("demo", "media", "work", "postgres")
"""Feeds end first, so that recordings are closed; the database last. What is
not named here ends with `work`. At most 10 s in all."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.supervisor")


class Held(NamedTuple):
    """What children are given, by file descriptors: sockets, and the lock of whoever writes recordings."""

    rtmp: int
    viewers: int
    writing: int


def up(settings: Settings, with_demo: bool) -> int:
    """Runs until a signal. Raises DataError, with one line for a person, where it can't run."""
    with ExitStack() as stack:
        stack.enter_context(locked(settings))
        prepare(settings)
        check_run(settings)
        check_space(settings)
        _check_locations(settings)
        _end_leftovers(settings.supervisor_file)
        writing = stack.enter_context(open_lock(settings, "writing.lock"))
        _await_writers(settings, writing)
        listener = stack.enter_context(_listen(settings.rtmp_address, "RTMP"))
        door = stack.enter_context(_viewers_door(settings))
        told = {**_real_addresses(settings, listener), "viewers_port": door.getsockname()[1]}
        settings = settings.model_copy(update=told)
        _raise_open_files()
        if not settings.database_url:
            postgres.initialise(settings)
        held = Held(listener.fileno(), door.fileno(), writing.fileno())
        return asyncio.run(_supervise(settings, held, with_demo))


def _check_locations(settings: Settings) -> None:
    """Asked of a child that is who the work process will be: a file of secrets must be that user's, not ours alone."""
    if not settings.locations.exists():
        return
    owner = account()
    command = [sys.executable, "-m", "mbashara", "location", "list", "--data", str(settings.data)]
    told = subprocess.run(
        command, env={**os.environ, **settings.environment()}, capture_output=True, text=True,
        user=owner.user_id if owner else None, group=owner.group_id if owner else None,
        extra_groups=[] if owner else None,
    )  # fmt: skip
    if told.returncode:
        why = told.stderr.strip().removeprefix("mbashara: ")
        if why:  # told by a command, in the reader's language
            raise DataError(lambda _: why)
        raise DataError(N_("{path}: can't be read"), path=settings.locations)


async def _supervise(settings: Settings, held: Held, with_demo: bool) -> int:
    children: list[Child] = []
    tell = partial(_write_state, settings.supervisor_file, children)
    children += [Child(spec, tell) for spec in specs(settings, held, with_demo)]
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    tasks = [asyncio.create_task(child.keep_running(), name=child.spec.name) for child in children]
    ready = asyncio.create_task(_announce(settings, with_demo))
    await stopping.wait()
    ready.cancel()
    log.info("stopping")
    await _stop_in_order(children)
    await asyncio.gather(*tasks)
    settings.supervisor_file.unlink(missing_ok=True)
    return 0


def specs(settings: Settings, held: Held, with_demo: bool) -> list[ChildSpec]:
    """The machine's processes. None waits for another: each copes with
    what is not there yet, as it must later anyway."""
    owner, environment = account(), settings.environment()
    python = [sys.executable, "-m"]

    def ours(name: str, module: str, *pass_fds: int, **extra: str) -> ChildSpec:
        is_media = name.startswith("media")
        if name not in TRUSTED:
            extra |= NO_SECRETS | _database_of(settings, name)
        return ChildSpec(
            name,
            [*python, module],
            {**environment, **extra},
            owner=owner,
            pass_fds=pass_fds,
            # Stills stand behind all others: on a full machine it would take long until they hear that they are asked.
            stop_signal=signal.SIGKILL if name == "stills" else signal.SIGTERM,
            stop_timeout_s=4.0 if is_media else 1.5,
            niceness=ON_AIR if is_media else 0,
        )

    writing = {FD_VARIABLE: str(held.writing)}
    children = [] if settings.database_url else [_postgres(settings)]
    children += [
        ours(
            f"media-{worker}", "mbashara.media", held.rtmp, held.writing, MBASHARA_RTMP_FD=str(held.rtmp),
            MBASHARA_WORKER=str(worker), **writing,
        )
        for worker in range(settings.media_workers)
    ]  # fmt: skip
    work = ours(
        "work", "mbashara.work", held.viewers, held.writing, **{viewers.FD_VARIABLE: str(held.viewers)}, **writing
    )
    children += [ours("web", "mbashara.web"), work, ours("stills", "mbashara.stills"), _edge(settings)]
    return [*children, ours("demo", "mbashara.demo")] if with_demo else children


def _database_of(settings: Settings, name: str) -> dict[str, str]:
    """Where an outside server is. Media asks it as whoever may read least; the demo makes a channel."""
    urls = {"demo": settings.database_url, "media": settings.media_database_url or settings.database_url}
    return {"MBASHARA_DATABASE_URL": urls.get(name.partition("-")[0], "")}


def _postgres(settings: Settings) -> ChildSpec:
    return ChildSpec(
        "postgres",
        postgres.fenced(settings),
        {**settings.environment(), **NO_SECRETS},
        owner=account(),
        stop_signal=postgres.STOP_SIGNAL,
        stop_timeout_s=3.0,
    )


def _edge(settings: Settings) -> ChildSpec:
    """nginx drops to an account by itself (its template says to which):
    only its master may bind port 80 or 443."""
    prepare = partial(edge.write_configuration, settings)
    return ChildSpec("edge", edge.command(settings), NO_SECRETS, prepare=prepare, niceness=ON_AIR)


async def _stop_in_order(children: list[Child]) -> None:
    def rank(child: Child) -> int:
        name = child.spec.name.partition("-")[0]
        return STOP_ORDER.index(name if name in STOP_ORDER else "work")

    for number in range(len(STOP_ORDER)):
        await asyncio.gather(*(child.stop() for child in children if rank(child) == number))


def _listen(address: Address, name: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        told = {"name": name, "address": address, "why": error}
        raise DataError(N_("{name} cannot listen on {address}: {why}"), **told) from error


def _viewers_door(settings: Settings) -> socket.socket:
    try:
        return viewers.bind(settings.viewers_port)
    except OSError as error:
        port = settings.viewers_port
        raise DataError(N_("cannot listen on UDP port {port}: {why}"), port=port, why=error) from error


def _real_addresses(settings: Settings, rtmp: socket.socket) -> dict[str, str]:
    """Ports 0 become real ones. The HTTP port is only tried here; nginx binds it itself."""
    with _listen(settings.http_address, "HTTP") as http:
        ports = {"http": http.getsockname()[1], "rtmp": rtmp.getsockname()[1]}
    hosts = {"http": settings.http_address.host, "rtmp": settings.rtmp_address.host}
    return {name: str(Address((hosts[name], port))) for name, port in ports.items()}


def _raise_open_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _end_leftovers(state_file: Path, wait_s: float = 5.0) -> None:
    """Ends the children of a supervisor that crashed, if the kernel has
    not yet: they would hold ports and the cluster."""
    try:
        children = json.loads(state_file.read_text())["children"]
    except (OSError, ValueError):
        return
    for child in children.values():
        process_id, began = child["process_id"], child["started_unix_s"]
        deadline = time.monotonic() + wait_s
        while process_id and start_time(process_id) == began:
            log.warning("ending a leftover", process_id=process_id)
            if time.monotonic() > deadline:
                kill_group(process_id)
                break
            with suppress(ProcessLookupError):
                os.kill(process_id, child["stop_signal"])
            time.sleep(0.2)


def _await_writers(settings: Settings, lock: IO[str], wait_s: float = 5.0) -> None:
    """Takes the lock that WRITERS hold as long as they live, whoever began them: one that hangs, and of which
    no supervisor knows any more, would write into what its successor goes on with. Ends those that are left. Raises
    DataError where one can't be ended (its disk hangs), or another supervisor keeps it."""
    began_s, killed_s, owner = time.monotonic(), math.inf, account()
    while not try_lock(lock):
        left, now_s = orphans(lock, WRITERS, owner), time.monotonic()  # on a full machine to look takes seconds
        if now_s - killed_s > wait_s:
            told = {"path": settings.data, "ids": ", ".join(map(str, left)) or "?"}
            raise DataError(N_("a process of another mbashara still writes to {path}: process {ids}"), **told)
        if now_s - began_s > wait_s:
            killed_s = min(killed_s, now_s)
        for process_id in left:
            log.warning("ending a leftover", process_id=process_id)
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process_id, signal.SIGTERM if killed_s > now_s else signal.SIGKILL)
        time.sleep(0.2)


def _write_state(path: Path, children: list[Child]) -> None:
    """For web's /healthz and /metrics, and for the next supervisor if this one crashes."""
    state = {
        child.spec.name: {
            "state": child.state,
            "process_id": child.process.pid if child.process else 0,
            "started_unix_s": child.started_unix_s,
            "stop_signal": int(child.spec.stop_signal),
            "restarts": child.restarts,
        }
        for child in children
    }
    temporary = path.with_suffix(".new")
    try:
        temporary.write_text(json.dumps({"supervisor": os.getpid(), "children": state}))
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:  # a full memory folder, say: children are kept running all the same
        log.error("the children's state can't be told", error=str(error))


async def _announce(settings: Settings, with_demo: bool) -> None:
    """Says `ready` once all parts answer through the edge, as a viewer would find them."""
    address = f"http://{settings.http_address.reachable}"
    began_s = time.monotonic()
    while not await asyncio.to_thread(_is_healthy, settings, address):
        if time.monotonic() - began_s > READY_TIMEOUT_S:
            log.error("not ready", after_s=READY_TIMEOUT_S, see=f"{address}/healthz")
            began_s = time.monotonic()
        await asyncio.sleep(0.2)
    rtmp = f"rtmp://{settings.rtmp_address.reachable}/live"
    print(f"ready http={address} rtmp={rtmp}", flush=True)
    if with_demo:
        print(demo.instructions(address, rtmp, demo.command(settings)), flush=True)


def _is_healthy(settings: Settings, address: str) -> bool:
    if probe.get(settings.socket("web"), "/healthz") is None:
        return False
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{address}/healthz", timeout=probe.TIMEOUT_S) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
