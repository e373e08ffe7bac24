"""What live tests share: the site's pages on a database that is filled once, of which each test has a copy; the API on
two institutions, anew for each module; an S3 server."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.recordings.locations.s3 import S3Store
from tests.live import pages_kit, store_kit
from tests.live.api_kit import Stage, StandingMedia
from tests.live.api_world import World as ApiWorld
from tests.live.api_world import filled_world
from tests.live.pages_kit import Pages, World
from tests.live.store_kit import LIMITS, Weed
from tests.up import Up

FILLED = "pages_test"
_NUMBERS = count()


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


@pytest.fixture(scope="session")
def bucket(weed: Weed) -> str:
    weed.make_bucket("kumbukumbu")
    return "kumbukumbu"


@pytest.fixture
def s3(weed: Weed, bucket: str) -> Iterator[S3Store]:
    with closing(S3Store(weed.location(bucket, prefix=f"jaribio-{next(_NUMBERS)}"), LIMITS)) as store:
        yield store


@pytest.fixture(scope="module")
def api_world(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with filled_world(mbashara_up, tmp_path_factory.mktemp("exports")) as made:
        yield made


@pytest.fixture
def stage(api_world: ApiWorld) -> Stage:
    return Stage(api_world.engine, StandingMedia(["bunge", "ikulu"]), folder=api_world.folder)
