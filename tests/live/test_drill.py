"""The drill's list with copies in a folder and in two buckets of a real S3 server."""

import base64
import random
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from archive.recordings import drill
from archive.recordings.drill import Stage
from archive.recordings.drill_cases import CASES
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.s3 import S3Store
from archive.recordings.signing_keys import new_signer
from tests.live.store_kit import weed


def test_the_drill_on_s3(tmp_path: Path) -> None:
    signer = new_signer()
    made = tmp_path / "made" / drill.RECORDING
    drill.make_recording(made, signer, random.Random(1), datetime.now(UTC), segments=6)
    for folder in ("local", "scratch"):
        (tmp_path / folder).mkdir()
    with weed(tmp_path / "weed") as server:
        for bucket in ("dodoma", "arusha"):
            server.make_bucket(bucket)
        dodoma = S3Store(server.location("dodoma", name="dodoma"))
        arusha = S3Store(server.location("arusha", name="arusha", prefix="mbashara"))
        with closing(dodoma), closing(arusha):
            local = FolderStore("local", tmp_path / "local")
            stage = Stage(
                made.name, {base64.b64decode(signer.public_key)},
                {"local": local, "dodoma": dodoma, "arusha": arusha}, made, tmp_path / "scratch", random.Random(5),
                {"local": tmp_path / "local"}, signer,
            )  # fmt: skip
            stage.fill()
            told = [*drill.run(stage, ((name, inject) for name, _, _, inject in CASES))]
            clean = drill.read_clean(stage, 100)
    assert [(one.name, one.wrong) for one in told if one.wrong] == []
    assert {one.name for one in told if one.skip} <= {"unmount", "disk-full", "other-away"}, "those need a folder"
    assert {one.location for case in told for one in case.outcomes} >= {"dodoma", "arusha", "local"}
    assert clean.files >= 100 and clean.alarms == ()
