"""Commands of root's on data that are the account's: what lies there may be a trap."""

import os
import pwd
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive.recordings import bag
from archive.recordings.about import from_files
from archive.recordings.bag_import import import_bag
from archive.recordings.ledger import Ledger, make_fact
from mbashara.cli import drill
from mbashara.cli.common import UserError
from mbashara.data import account, as_caller, open_lock, stepped_down
from mbashara.settings import Settings
from tests.unit.recording_kit import ID, PUBLIC_KEY, make_recording

BECOME_ROOT = "import os; print(os.getresuid()); os.setuid(0)"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down")
def test_root_works_as_the_account_on_its_data(tmp_path: Path) -> None:
    owner = account()
    assert owner is not None
    settings, victim, given = Settings(data=tmp_path / "data"), tmp_path / "victim", tmp_path / "given"
    given.mkdir(mode=0o700)
    recording = make_recording(given)
    with (given / "bag.tar").open("wb") as file:
        bag.write_tar(recording, file, from_files(recording), {}, datetime(2026, 11, 28, tzinfo=UTC))
    victim.mkdir()
    planted = settings.recordings / ".incoming" / ID
    planted.mkdir(parents=True)
    (planted / "source").symlink_to(victim)
    for folder in (settings.data, settings.recordings, planted.parent, planted):
        os.chown(folder, owner.user_id, owner.group_id)
    open_lock(settings).close()  # as `up` of root's makes it

    with stepped_down(settings):
        open_lock(settings).close()
        with pytest.raises(PermissionError):
            (settings.data.parent / "mine").touch()
        with pytest.raises(PermissionError):
            import_bag(given / "bag.tar", settings.recordings, {PUBLIC_KEY})
        assert import_bag(given / "bag.tar", settings.recordings, {PUBLIC_KEY}, as_caller).is_new
        child = subprocess.run([sys.executable, "-c", BECOME_ROOT], capture_output=True, text=True)
        assert child.stdout.count(str(owner.user_id)) == 3 and "PermissionError" in child.stderr
    assert os.getresuid() == (0, 0, 0)
    assert list(victim.iterdir()) == [] and victim.stat().st_uid == 0
    taken = [*(settings.recordings / ID).rglob("*")]
    assert taken and {pwd.getpwuid(path.stat().st_uid).pw_name for path in taken} == {"mbashara"}


def test_a_drill_copies_nothing_to_where_a_ledger_leads(tmp_path: Path) -> None:
    recording = make_recording(tmp_path)
    Ledger(recording).append(make_fact("file", 0, name="../../outside", size=1, sha256="0" * 64))
    (tmp_path.parent / "outside").write_text("evil")
    with pytest.raises(UserError):
        drill._copy(recording, tmp_path / "a" / "b" / "c")
    assert not (tmp_path / "a").exists()
