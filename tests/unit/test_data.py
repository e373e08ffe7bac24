"""Commands of root's on data that are the account's: what lies there may be a trap."""

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive.recordings import bag
from archive.recordings.about import from_files
from archive.recordings.bag_import import import_bag
from archive.recordings.ledger import Ledger, make_fact
from mbashara import data as data_module
from mbashara.children import as_account
from mbashara.cli import drill
from mbashara.data import account, as_caller, locked, open_lock, prepare, stepped_down
from mbashara.edge import write_configuration
from mbashara.plain import DataError, UserError
from mbashara.settings import Settings
from mbashara.supervisor import _write_state, up
from tests.unit.recording_kit import ID, PUBLIC_KEY, make_recording
from tests.up import ROOT, data_folder

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


SWAP = """
import os, sys
while True:
    for act, *names in (
        (os.rename, "mail", "aside"), (os.symlink, sys.argv[1], "mail"), (os.unlink, "mail"),
        (os.rename, "aside", "mail"),
    ):
        try:
            act(*names)
        except OSError:
            pass
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_root_gives_away_nothing_that_is_swapped_while_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, elsewhere = Settings(data=tmp_path / "data", run_dir=tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    prepare(settings)
    monkeypatch.setattr(data_module, "FOLDERS", {"mail": 0o700})
    command = [sys.executable, "-c", SWAP, str(elsewhere)]
    with subprocess.Popen(command, cwd=settings.data, **as_account(account())) as swapper:
        until_s = time.monotonic() + 1.5
        while time.monotonic() < until_s:
            with suppress(DataError):
                prepare(settings)
        assert swapper.poll() is None
        swapper.kill()
    found = elsewhere.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o755)


HOLD = """
from mbashara.data import locked, prepare
from mbashara.settings import Settings
settings = Settings()
with locked(settings):
    prepare(settings)
    settings.supervisor_file.write_text("{}")
    print("held", flush=True)
    input()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where the account may go: pytest's own are root's alone."""
    with data_folder() as data:
        yield data.parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs `up` for another")
def test_roots_up_and_the_accounts_on_one_folder(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's touches nothing that the account's is working on; after root's the account's says what is in its way."""
    owner = account()
    assert owner is not None
    settings = Settings(data=open_folder / "data", run_dir=open_folder / "run")
    for path in (settings.data, settings.run):
        path.mkdir()
        os.chown(path, owner.user_id, owner.group_id)
    for name, value in {**settings.environment(), "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)

    def as_the_account() -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", HOLD], cwd="/", text=True, stdin=pipe, stdout=pipe, **as_account(owner)
        )

    with as_the_account() as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="another mbashara runs"):
            up(settings, with_demo=False)
        assert settings.supervisor_file.exists() and (settings.run / "nginx").stat().st_uid == owner.user_id
        other.communicate("\n")
    settings.run.rename(open_folder / "before")
    (settings.data / "lock").unlink()
    with locked(settings):
        prepare(settings)  # as `up` of root's
    told = subprocess.run(
        [sys.executable, "-m", "mbashara", "up"], cwd="/", capture_output=True, text=True, timeout=120,
        **as_account(owner),
    )  # fmt: skip
    assert told.returncode == 2 and "is another user's" in told.stderr.splitlines()[-1]


def test_a_drill_copies_nothing_to_where_a_ledger_leads(tmp_path: Path) -> None:
    recording = make_recording(tmp_path)
    Ledger(recording).append(make_fact("file", 0, name="../../outside", size=1, sha256="0" * 64))
    (tmp_path.parent / "outside").write_text("evil")
    with pytest.raises(UserError):
        drill._copy(recording, tmp_path / "a" / "b" / "c")
    assert not (tmp_path / "a").exists()
