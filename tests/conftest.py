"""What live and browser tests share: one `mbashara up` for the whole run."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.up import Up, data_folder, running

# A busy machine is no fault of the code: how long an example takes is measured in tests/bench, never tested.
settings.register_profile("mbashara", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mbashara")


@pytest.fixture(scope="session")
def mbashara_up() -> Iterator[Up]:
    """The shared program. A test that kills a child leaves it healthy; one that needs its own settings runs its own."""
    with data_folder() as data, running(data) as up:
        yield up
