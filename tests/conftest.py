"""What live and browser tests share: one `mbashara up` for the whole run."""

from collections.abc import Iterator

import pytest

from tests.up import Up, data_folder, running


@pytest.fixture(scope="session")
def mbashara_up() -> Iterator[Up]:
    """The shared program. A test that kills a child leaves it healthy; one that needs its own settings runs its own."""
    with data_folder() as data, running(data) as up:
        yield up
