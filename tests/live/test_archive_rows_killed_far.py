"""Copying to a server that keeps every version of what it was sent, by a work process that is killed, also where the
server took a file and its answer was never heard: no file of a recording is put twice.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archive.recordings.locations.s3 import S3Store
from archive.recordings.locations.s3_client import Limits, make_client
from tests.live.deaths_kit import deaths
from tests.live.policy_kit import Scene
from tests.live.resolve_kit import resolve_scene
from tests.live.store_kit import LIMITS, Weed
from tests.live.test_archive_rows_killed import to_copy
from tests.up import Up

BUCKET = "kila-toleo"


@pytest.fixture(scope="module")
def far(mbashara_up: Up, weed: Weed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    weed.make_bucket(BUCKET)
    client = make_client(weed.location(BUCKET), Limits())
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    with resolve_scene(mbashara_up, tmp_path_factory.mktemp("far")) as one:
        one.stores = {"local": one.stores["local"], "wingu": S3Store(weed.location(BUCKET), LIMITS)}
        yield one
        one.stores["wingu"].close()


def test_a_server_has_each_file_once_wherever_the_copier_was_killed(far: Scene, tmp_path: Path) -> None:
    clean, died = deaths(far, tmp_path, lambda: to_copy(far), acts=25)
    assert sum("1 times" in one for one in clean) == 6 and not any("! " in one for one in clean), clean
    acts = {line.split()[0] for line in (tmp_path / "25" / "acts").read_text().splitlines()}
    assert {"_send", "put_file", "put_bytes"} <= acts, "each of them counts; which of them is the fifth, threads decide"
    assert not [one for one in died if one.wrong], "\n".join(f"{one.behind}: {one.wrong}" for one in died if one.wrong)
