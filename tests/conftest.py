"""What live and browser tests share: one `mbashara up` for the whole run."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.up import ROOT, Up, data_folder, running

# A busy machine is no fault of the code: how long an example takes is measured in tests/bench, never tested.
settings.register_profile("mbashara", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mbashara")


os.environ |= {"LC_ALL": "C.UTF-8", "MBASHARA_LANGUAGE": ""}
"""Commands speak both languages here, whoever runs the tests."""

BESIDE = (
    "tests/live/test_api", "tests/live/test_archive_rows", "tests/live/test_audit",
    "tests/live/test_broadcast_rows", "tests/live/test_calendar", "tests/live/test_drill",
    "tests/live/test_dry_run_rows", "tests/live/test_export", "tests/live/test_health",
    "tests/live/test_institution_rows", "tests/live/test_login", "tests/live/test_media_role",
    "tests/live/test_policy_rows",
    "tests/live/test_resolve_rows", "tests/live/test_rows", "tests/live/test_staff_", "tests/live/test_stores",
    "tests/live/test_timestamp", "tests/live/test_viewers", "tests/live/test_webhooks",
)  # fmt: skip
"""Tests that no clock of ours watches: `make test` runs them beside the others, at the lowest priority, and unit tests
in a lane of their own, so that both processors have work to the end."""

SCREENS = (
    "tests/browser/", "tests/live/test_broadcast_life", "tests/live/test_database_away", "tests/live/test_disk_full",
)  # fmt: skip
"""Browsers, and programs that are broken on purpose: they mostly wait, so `make test` has them wait beside the rest."""

LANES = {"unit": ("tests/unit/",), "beside": BESIDE, "screens": SCREENS}
REST = "rest"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A folder of its own for tmp_path: in the one that runs share, each that begins shuts other users out of what the
    others have opened to the account."""
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="mbashara-pytest-")
        config.add_cleanup(partial(shutil.rmtree, config.option.basetemp, ignore_errors=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lane", choices=[*LANES, REST], help="only the tests that `make test` runs in this lane")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What other lanes run is not even read: a lane would load for ten seconds what it has no use for."""
    lane = config.option.lane
    return True if lane and collection_path.is_file() and _lane_of(collection_path) != lane else None


def pytest_collection_finish() -> None:
    """What was loaded and collected by now stays to the end: the garbage collector, which would go through all of it
    again and again (a tenth of what tests of pages cost), leaves it alone."""
    gc.collect()
    gc.freeze()


def _lane_of(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return next((lane for lane, begins in LANES.items() if name.startswith(begins)), REST)


@pytest.fixture(scope="session")
def mbashara_up() -> Iterator[Up]:
    """The shared program. A test that kills a child leaves it healthy; one that needs its own settings runs its own."""
    with data_folder() as data, running(data) as up:
        yield up
