"""The site's pages for live tests: a database that is filled once, and a copy of it for each test. An S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from tests.live import pages_kit, store_kit
from tests.live.pages_kit import Pages, World
from tests.live.store_kit import Weed
from tests.up import Up

FILLED = "pages_test"


@pytest.fixture(scope="session")
def world(mbashara_up: Up) -> Iterator[World]:
    with pages_kit.filled_database(mbashara_up, FILLED) as world:
        yield world


@pytest.fixture
def pages(mbashara_up: Up, world: World, tmp_path: Path) -> Iterator[Pages]:
    with pages_kit.pages(mbashara_up, FILLED, world, tmp_path) as pages:
        yield pages


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """Of the module's own `engine`. What a test writes is rolled back."""
    with Session(engine) as session:
        yield session
        session.rollback()


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """An S3 server for the whole run; each test makes a bucket of its own."""
    with store_kit.weed(tmp_path_factory.mktemp("weed")) as server:
        yield server
