"""One round of the archive's rules in a work process, and what it begins, over a test's database and folders.

    python -m tests.live.rules_process DATA PLACE FOLDER [RECORDING]    MBASHARA_DATABASE_URL: the database

With a RECORDING it dies, as by kill -9, once the first file of it is removed.
"""

import os
import signal
import sys
import time
from pathlib import Path

from dbos import DBOS

from archive.recordings.locations.folder import FolderStore
from core.database import open_engine
from mbashara import inside_dbos, rules, work
from mbashara.settings import Settings


class Dying(FolderStore):
    def __init__(self, name: str, folder: Path, recording_id: str) -> None:
        super().__init__(name, folder)
        self._recording_id = recording_id

    def delete(self, key: str) -> None:
        super().delete(key)
        if key.startswith(f"{self._recording_id}/"):
            os.kill(os.getpid(), signal.SIGKILL)


def main(data: str, place: str, folder: str, *dies_at: str) -> None:
    settings = Settings(data=Path(data))
    store = Dying(place, Path(folder), *dies_at) if dies_at else FolderStore(place, Path(folder))
    keeper = rules.prepare(settings, open_engine(settings.sqlalchemy_url), {place: store})
    inside_dbos.distrust()
    inside_dbos.calm(DBOS(config=work._dbos_config(settings)))
    DBOS.launch()
    keeper.round(is_full=False)
    while DBOS.list_workflows(status=["PENDING", "ENQUEUED"]):
        time.sleep(0.05)
    DBOS.destroy()


if __name__ == "__main__":
    main(*sys.argv[1:])
