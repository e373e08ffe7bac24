"""A broadcast that is copied to two places while one process after the other is killed: what must be true then."""

import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from archive.recordings import rebuild, signing_keys
from archive.recordings.locations.opening import open_store
from archive.recordings.locations.s3_client import Limits, make_client
from archive.recordings.verify import LEDGER_NAME, Report, listed_files, read_chain, verify
from core.database import migrate, open_engine, transaction
from mbashara.data import account
from tests.live import media_files
from tests.live.catalogue_kit import rows_of
from tests.live.store_kit import ADMIN, Weed, credentials, weed
from tests.live.tsa_kit import running_tsa
from tests.up import COMMAND_TIMEOUT_S, Up, command, data_folder, running, until

BUCKET = "kumbukumbu"
NEAR_MS = 8000
FRAME_MS = {"source": 40, "source-audio": 24}
STAMPED = "select 1 from recording where state = 'complete' and stamped_bytes = ledger_bytes"
KILLED = ("media-0", "work", "postgres", "weed")


@dataclass(slots=True)
class House:
    """The program on a folder with two locations: `wingu` (SeaweedFS) and `arusha` (a folder)."""

    up: Up
    place: Path
    server: Weed

    @property
    def arusha(self) -> Path:
        return self.place / "arusha"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.up.database_url()) as server:
            return server.execute(query).fetchall()

    def copies(self) -> dict[str, tuple[Any, ...]]:
        """By location: state, papers due, files, lag in ms, fault."""
        query = "select location, state, papers_due, files, lag_ms, fault from recording_copy where location <> 'local'"
        return {row[0]: row[1:] for row in self.rows(query)}

    def are_whole(self) -> bool:
        try:
            found = self.copies()
        except psycopg.Error:
            return False
        return len(found) == 2 and all(state == "whole" and not due for state, due, *_ in found.values())

    def fetch(self, recording: str) -> Path:
        """What the S3 server holds of a recording, as a folder."""
        folder = self.place / "fetched" / recording
        store = open_store(self.server.location(BUCKET))
        for one in store.list(f"{recording}/"):
            path = folder / one.key.partition("/")[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.writelines(store.open(one.key))
        store.close()
        return folder

    def uploads(self, recording: str) -> Counter[str]:
        """How often each file was put: the bucket keeps every version."""
        client = make_client(self.server.location(BUCKET), Limits())
        found: Counter[str] = Counter()
        for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix=f"{recording}/"):
            found.update(one["Key"] for one in page.get("Versions", []) if not one["Key"].endswith(".jsonl"))
        client.close()
        return found


@contextmanager
def house() -> Iterator[House]:
    with data_folder() as data, weed(data.parent / "weed") as server, running_tsa(data.parent / "tsa") as authority:
        place = data.parent
        server.make_bucket(BUCKET)
        client = make_client(server.location(BUCKET), Limits())
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        client.close()
        owner = account()
        (place / "arusha").mkdir()
        (place / "locations.toml").write_text(_locations(place, server))
        (place / "locations.toml").chmod(0o600)
        if owner is not None:
            os.chown(place / "arusha", owner.user_id, owner.group_id)
            os.chown(place / "locations.toml", owner.user_id, owner.group_id)
        authority.ca.chmod(0o644)
        (place / "tsa").chmod(0o755)
        stamped = {"timestamp_url": authority.url, "timestamp_ca_file": authority.ca}
        with running(
            data, locations_file=place / "locations.toml", ladder=False, reconnect_window_s=60, **stamped
        ) as up:
            yield House(up, place, server)


def _locations(place: Path, server: Weed) -> str:
    held = credentials(ADMIN)
    return f"""
[[location]]
name = "arusha"
kind = "folder"
path = "{place}/arusha"

[[location]]
name = "wingu"
kind = "s3"
endpoint_url = "{server.endpoint_url}"
bucket = "{BUCKET}"
access_key_id = "{held.access_key_id.get_secret_value()}"
secret_access_key = "{held.secret_access_key.get_secret_value()}"
"""


class Evening(NamedTuple):
    """What came of it: whom was killed, what is wrong with the copies, how late they were (ms), and the catalogue's
    rows before and after it was made again from files."""

    killed: list[str]
    report: Report
    wrong: list[str]
    lag_ms: dict[str, int | None]
    rows: list[str]
    rebuilt: list[str]
    verified: str
    mended: "Mended"


class Mended(NamedTuple):
    """What `mbashara fixity run` said after faults, by location, and again once it had mended them, and where the
    file of a `name` is damaged everywhere; and what a location that was emptied has after it was copied anew."""

    first: dict[str, dict[str, Any]]
    again: dict[str, dict[str, Any]]
    nowhere: dict[str, dict[str, Any]]
    name: str
    anew: bool
    events: list[tuple[str, str]]


class Encoder:
    """Sends the file again and again, as an engineer's encoder that reconnects."""

    def __init__(self, path: Path, url: str) -> None:
        self._path, self._url, self._over = path, url, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            process = media_files.publish(self._path, self._url)
            while process.poll() is None and not self._over.wait(0.1):
                pass
            process.terminate()
            process.wait()
            self._over.wait(0.5)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def kill_at_random(one: House, rounds: int, chance: random.Random) -> list[str]:
    """Whom it killed. Each is back, or coming back, when the next goes."""
    killed = []
    for number in range(rounds):
        time.sleep(chance.uniform(1, 4))
        name = KILLED[number] if number < len(KILLED) else chance.choice(KILLED)
        killed.append(name)
        if name == "weed":
            _restart_weed(one)
        else:
            old = one.up.kill(name)
            one.up.wait_restarted(name, old)
    return killed


def _restart_weed(one: House) -> None:
    """Ended by kill -9 and begun again a second later, on the same folder."""
    os.kill(one.server.pid, 9)
    time.sleep(1)
    one.server = _begin_again(one.place / "weed")


_weeds: list[Any] = []


def _begin_again(folder: Path) -> Weed:
    entered = weed(folder)
    _weeds.append(entered)
    return entered.__enter__()


def end_weeds() -> None:
    while _weeds:
        _weeds.pop().__exit__(None, None, None)


def check(one: House, recording: str) -> tuple[Report, list[str]]:
    """The report of the recording here, and what is wrong with it or its copies, in words."""
    folder = one.up.data / "recordings" / recording
    report = verify(folder)
    wrong = [finding.text() for finding in report.findings]
    for name, copy in (("arusha", one.arusha / recording), ("wingu", one.fetch(recording))):
        told = verify(copy)
        wrong += [f"{name}: {finding.text()}" for finding in told.findings]
        if told.head != report.head or told.signatures != report.signatures:
            wrong.append(f"{name}: not the same ledger or signatures")
    wrong += [f"put {times} times: {key}" for key, times in one.uploads(recording).items() if times > 1]
    return report, wrong + holes(folder)


def holes(folder: Path) -> list[str]:
    """Of which the ledger says nothing: each rendition's segments and gaps follow each other, but for less than one of
    its frames where a feed ended: its sound may go on a little longer than its picture."""
    ledger, wrong = read_chain(folder / LEDGER_NAME), []
    spans: dict[str, dict[int, tuple[int, int]]] = {}
    gaps = [one for one in ledger.lines if one["fact"] == "gap" and "rendition" in one]
    for line in [*listed_files(ledger).values(), *(one for one in ledger.lines if one["fact"] == "absent")]:
        if line.get("msn") is not None:
            spans.setdefault(line["rendition"], {}).setdefault(line["msn"], (line["from_ms"], line["to_ms"]))
    for rendition, by_number in spans.items():
        told = [(one["from_ms"], one["to_ms"]) for one in gaps if one["rendition"] == rendition]
        ordered = sorted([*by_number.values(), *told])
        for before, after in pairwise(ordered):
            if abs(after[0] - before[1]) >= FRAME_MS[rendition]:
                wrong.append(f"{rendition}: nothing is said of {before[1]} to {after[0]} ms")
    return wrong


def rebuilt(one: House, recording: str) -> tuple[list[str], list[str]]:
    """The recording's rows, and those of a catalogue made again from its files in an empty database."""
    recordings = one.up.data / "recordings"
    keys = signing_keys.public_halves(one.up.data / "secrets/signing")
    with psycopg.connect(one.up.database_url("postgres"), autocommit=True) as server:
        server.execute("create database rebuilt")
        mine, empty = open_engine(one.up.database_url()), open_engine(one.up.database_url("rebuilt"))
        try:
            migrate(empty)
            with transaction(mine) as session:
                before = rows_of(session, recording)
            with transaction(empty) as session:
                assert rebuild.restore(session, rebuild.read(recordings / recording, keys))
                assert not rebuild.restore(session, rebuild.read(recordings / recording, keys)), "once is enough"
                after = rows_of(session, recording)
        finally:
            mine.dispose()
            empty.dispose()
            server.execute("drop database rebuilt")
    return before, after


def mended(one: House, recording: str) -> Mended:
    """A bit flips here, a file goes at one location, another is cut at the other, the database's hash is wrong."""
    here, arusha = one.up.data / "recordings" / recording, one.arusha / recording
    flipped = bytearray((here / "source/0.m4s").read_bytes())
    flipped[99] ^= 1
    (here / "source/0.m4s").write_bytes(flipped)
    (arusha / "source/1.m4s").unlink()
    store = open_store(one.server.location(BUCKET))
    store.put_bytes(f"{recording}/source/2.m4s", b"cut", replace=True)
    with psycopg.connect(one.up.database_url()) as server:
        server.execute("update recording set ledger_head = repeat('f', 64)")
    first = fixity(one, recording)
    again = fixity(one, recording)
    last = max((here / "source").glob("*.m4s"), key=lambda path: int(path.stem))  # some before it may be gaps
    kept, name = last.read_bytes(), f"source/{last.name}"
    for place in (here, arusha):
        (place / name).write_bytes(b"the same")
    store.put_bytes(f"{recording}/{name}", b"the same", replace=True)
    nowhere = fixity(one, recording)
    store.put_bytes(f"{recording}/{name}", kept, replace=True)
    store.close()
    events = [tuple(row) for row in one.rows("select kind, outcome from preservation_event order by id")]
    shutil.rmtree(arusha)
    assert fixity(one, recording)["arusha"]["state"] in ("faulty", "held")
    told = command(one.up.data, "fixity", "copy-anew", "arusha")
    assert told.returncode == 0, told
    until(one.are_whole, "never whole again", COMMAND_TIMEOUT_S)
    anew = verify(arusha).is_whole
    return Mended(first, again, nowhere, name, anew, events)


def fixity(one: House, recording: str) -> dict[str, dict[str, Any]]:
    until(lambda: not one.rows("select 1 from recording_copy where papers_due and location <> 'local'"), "papers")
    told = command(one.up.data, "fixity", "run", recording, "--json", locations_file=one.place / "locations.toml")
    return {copy["location"]: copy for copy in json.loads(told.stdout)}


def run(path: Path, rounds: int, seed: int) -> Evening:
    """One evening: on the air, killed `rounds` times, ended, copied. For a bench and a test alike."""
    with house() as one:
        try:
            encoder = Encoder(path, f"{one.up.rtmp_url}/{one.up.channel_add('ikulu').primary_key}")
            try:
                until(lambda: bool(one.rows("select id from recording")), "never on the air")
                until(lambda: sum(files for _, _, files, *_ in one.copies().values()) > 4, "not copied while live")
                (recording,) = one.rows("select id from recording")[0]
                lag: dict[str, int | None] = {}

                def is_near() -> bool:
                    lag.update({name: found[3] for name, found in one.copies().items()})
                    return any(lag_ms is not None and 0 <= lag_ms < NEAR_MS for lag_ms in lag.values())

                until(is_near, "copies stay far behind the air")
                killed = kill_at_random(one, rounds, random.Random(seed))
                time.sleep(3)
            finally:
                encoder.stop()
            until(lambda: bool(one.rows(STAMPED)), "no time stamp of the end", COMMAND_TIMEOUT_S)
            log = one.up.log
            until(one.are_whole, f"never whole: {one.copies()} {log.read_text()[-3000:]}", COMMAND_TIMEOUT_S)
            report, wrong = check(one, recording)
            before, after = rebuilt(one, recording)
            ca = {"timestamp_ca_file": one.place / "tsa/ca.pem"}
            verified = command(one.up.data, "recording", "verify", recording, "--lang", "en", **ca)
            return Evening(killed, report, wrong, lag, before, after, verified.stdout, mended(one, recording))
        finally:
            end_weeds()
