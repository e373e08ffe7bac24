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
from mbashara.children import as_account
from mbashara.cli import drill
from mbashara.cli.common import UserError
from mbashara.data import DataError, account, as_caller, open_lock, prepare, stepped_down
from mbashara.edge import write_configuration
from mbashara.settings import Settings
from mbashara.supervisor import _write_state
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


LOOT = """
import os, sys
from pathlib import Path
run, victim = Path(sys.argv[1]), sys.argv[2]
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
def swap():
    (run / "nginx").rename(run / "old")
    (run / "nginx").mkdir()
print(tried(lambda: (run / "nginx/nginx.conf").write_text("user root;")), tried(swap))
print(*(tried(lambda: (run / name).symlink_to(victim)) for name in ("supervisor.new", "nginx/body", "nginx/nginx.pid")))
print(tried((run / "work/viewers.json").touch), tried((run / "work/heartbeat").touch))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts nginx as root")
def test_what_root_obeys_is_out_of_the_accounts_reach(tmp_path: Path) -> None:
    """nginx's master is root: whoever has its configuration, or a link where it writes, has the machine."""
    owner = account()
    assert owner is not None
    settings, victim = Settings(data=tmp_path / "data", run_dir=tmp_path / "run"), tmp_path / "victim"
    victim.mkdir()
    (victim / "passwd").write_text("root")
    # As the account could have left it in a version before this one.
    (settings.run / "nginx").mkdir(parents=True)
    (settings.run / "live").mkdir()
    (settings.run / "live/kept").touch()
    (settings.run / "stills").symlink_to(victim)
    (settings.run / "supervisor.new").symlink_to(victim / "passwd")
    (settings.run / "nginx/nginx.conf").symlink_to(victim / "passwd")
    for path in (settings.run, *settings.run.rglob("*")):
        os.chown(path, owner.user_id, owner.group_id, follow_symlinks=False)
    prepare(settings)
    write_configuration(settings)
    _write_state(settings.supervisor_file, [])
    told = subprocess.run(
        [sys.executable, "-c", LOOT, str(settings.run), str(victim / "passwd")], capture_output=True, text=True,
        **as_account(owner),
    )  # fmt: skip
    no = "PermissionError"
    assert told.stdout.splitlines() == [f"{no} {no}", f"{no} {no} {no}", "None None"], told.stderr
    assert (victim / "passwd").read_text() == "root" and victim.stat().st_uid == 0
    assert (settings.run / "live/kept").exists(), "what is on the air stays"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_root_gives_away_nothing_that_a_link_of_the_accounts_leads_to(tmp_path: Path) -> None:
    """One of root's own is followed: it says where keys lie."""
    owner = account()
    assert owner is not None
    settings, elsewhere = Settings(data=tmp_path / "data", run_dir=tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    prepare(settings)
    (settings.data / "mail").rmdir()
    (settings.data / "mail").symlink_to(elsewhere)
    os.chown(settings.data / "mail", owner.user_id, owner.group_id, follow_symlinks=False)
    with pytest.raises(DataError, match="a link that is not root's"):
        prepare(settings)
    assert elsewhere.stat().st_uid == 0
    os.chown(settings.data / "mail", 0, 0, follow_symlinks=False)
    prepare(settings)
    assert elsewhere.stat().st_uid == owner.user_id


def test_a_drill_copies_nothing_to_where_a_ledger_leads(tmp_path: Path) -> None:
    recording = make_recording(tmp_path)
    Ledger(recording).append(make_fact("file", 0, name="../../outside", size=1, sha256="0" * 64))
    (tmp_path.parent / "outside").write_text("evil")
    with pytest.raises(UserError):
        drill._copy(recording, tmp_path / "a" / "b" / "c")
    assert not (tmp_path / "a").exists()
