"""What the wall says of the machine's load: what is measured, and the words where it is much."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.web.i18n import Language
from ingest.console.load import Load, ProcessLoad
from mbashara.load import Usage, busy_percent, machine_s, usages
from tests.unit.site_kit import make_site

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def test_a_process_counts_what_it_started_too() -> None:
    before = usages([os.getpid()])[0]
    subprocess.run([sys.executable, "-c", BURN], check=True)
    after = usages([os.getpid()])[0]
    assert after.family_s - before.family_s >= 0.25 + after.own_s - before.own_s  # a clock of 10 ms
    assert after.memory_bytes > 1 << 20 and 0 < after.open_files < after.max_open_files
    assert usages([0, 1 << 30]) == [Usage(), Usage()], "not running, and gone"


def test_the_machine_is_measured_from_whatever_thread() -> None:
    before = machine_s()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    with ThreadPoolExecutor(1) as other_thread:
        after = other_thread.submit(machine_s).result()
    assert 0 < busy_percent(before, after) <= 100
    assert (busy_percent((1.0, 4.0), (2.0, 8.0)), busy_percent(after, after)) == (25, 0)


@pytest.mark.parametrize(
    ("load", "near"),
    [
        (Load([ProcessLoad("media-0", True, 60, 180, 200, 9)], 70, 900, 8000, 20_000, 100_000), 0),
        (Load([ProcessLoad("media-0", True, 85, 180, 200, 9)], 70, 2000, 8000, 20_000, 100_000), 1),
        (Load([ProcessLoad("stills", True, 95, 180, 200, None)], 70, 2000, 8000, 20_000, 100_000), 0),
        (Load([ProcessLoad("web", True, 1, 1, 100, None, 820, 1024)], 70, 2000, 8000, 20_000, 100_000), 1),
        (Load([ProcessLoad("web", True, 1, 1, 100, None, 81, 1024)], 70, 2000, 8000, 20_000, 100_000), 0),
        (Load([], 90, 700, 8000, 9_000, 100_000), 3),
    ],
)
def test_what_is_near_a_limit_is_said_in_words(load: Load, near: int) -> None:
    site = make_site()
    for language, words in ((Language.EN, "near its limit"), (Language.SW, "inakaribia kikomo")):
        assert str(site.macro(language, "ingest/console/load.html", "load")(load)).count(words) == near
