"""The data folder and its memory folder: made, checked for version, space and
another user, and handed to the unprivileged account."""

import fcntl
import os
import pwd
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from core.keys import PEPPER_BYTES
from mbashara import DATA_VERSION
from mbashara.settings import Settings

ACCOUNT = "mbashara"
"""As whom the children run when `up` is root's: hostile bytes from encoders
are never parsed by root, and PostgreSQL refuses root."""
FOLDERS = {
    "postgres": 0o700,
    "secrets": 0o700,
    "secrets/signing": 0o700,
    "secrets/c2pa": 0o700,
    "state": 0o755,
    "log": 0o755,
    "recordings": 0o755,
    "imports": 0o700,
    "exports": 0o750,  # the edge, of the same group, hands its files out
    "public": 0o755,
    "public/brand": 0o755,
    "public/closed": 0o755,
    "public/gone": 0o755,
    "mail": 0o700,
    "scratch": 0o700,
}
RUN_FOLDERS = {"live": 0o755, "stills": 0o755, "sock": 0o755, "work": 0o755, "postgres": 0o700}

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.data")


class DataError(Exception):
    """The data folder can't be used; the message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that owns the data and runs the children. None of this matters unless we are root."""

    user_id: int
    group_id: int


def account() -> Account | None:
    """The account to drop to, made if new; None if we are not root and stay who we are."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            ACCOUNT,
        ]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise DataError(f"cannot make the user {ACCOUNT}: {made.stderr.strip()}") from None
        entry = pwd.getpwnam(ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


@contextmanager
def stepped_down(settings: Settings) -> Iterator[None]:
    """A command of root's works as the account where the data are the account's: a link that lies there leads nowhere
    where the account may not go, and no file of root's is left. What it starts can't become root again; it can, for
    what its caller named (`as_caller`)."""
    try:
        owner = settings.data.stat().st_uid
        entry = pwd.getpwnam(ACCOUNT)
    except (OSError, KeyError):
        yield
        return
    if os.geteuid() != 0 or owner != entry.pw_uid:
        yield
        return
    _make_the_way(settings, Account(entry.pw_uid, entry.pw_gid))
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, 0)
    os.setresuid(entry.pw_uid, entry.pw_uid, 0)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@contextmanager
def as_caller() -> Iterator[None]:
    """For paths that a command's caller named, which the account may not reach."""
    user_id, _, kept_id = os.getresuid()
    if os.geteuid() == 0 or kept_id != 0:
        yield
        return
    group_id = os.getegid()
    os.seteuid(0)
    os.setegid(0)
    try:
        yield
    finally:
        os.setegid(group_id)
        os.seteuid(user_id)


def _make_the_way(settings: Settings, owner: Account) -> None:
    """What the account could not make itself: its memory folder, which is gone with a restart of the machine."""
    if not settings.run.exists():
        _make_run(settings, owner)
    for path in (settings.data, Path(os.__file__), Path(structlog.__file__)):
        _open_the_way_to(path)


def prepare(settings: Settings) -> None:
    """Makes what is missing of DATA and RUN. Raises DataError where they can't be ours."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        _check_version(settings.data / "VERSION")
        owner = account()
        for name, mode in {"": 0o755, **FOLDERS}.items():
            _make_folder(settings.data / name, mode, owner)
        _make_run(settings, owner)
        if owner is not None:
            _open_the_way_to(settings.data)
            _open_the_way_to(Path(os.__file__))
            _open_the_way_to(Path(structlog.__file__))
        if not settings.pepper_file.exists():
            keep_secret(settings.pepper_file, secrets.token_bytes(PEPPER_BYTES), owner)
        _link(settings.public / "live", settings.live)
        _link(settings.public / "recordings", Path("../recordings"))
    except OSError as error:
        raise DataError(f"cannot use the data folder: {error.strerror}: {error.filename}") from error


def check_space(settings: Settings) -> None:
    free_mb = shutil.disk_usage(settings.data).free >> 20
    if free_mb < settings.min_free_mb:
        raise DataError(
            f"only {free_mb} MB free in {settings.data}, {settings.min_free_mb} MB needed / "
            "nafasi haitoshi kwenye diski"
        )


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Held by `up` as long as it runs, so that two can't share a data
    folder. The kernel drops it if we are killed."""
    with open_lock(settings) as file:
        if not try_lock(file):
            raise DataError(f"another mbashara runs on {settings.data} / mbashara nyingine inatumia folda hii")
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def open_lock(settings: Settings) -> IO[str]:
    """One that root made can be read by the account: that is enough to ask for it."""
    path = settings.data / "lock"
    try:
        try:
            return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "r+")
        except PermissionError:
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        raise DataError(f"cannot use the data folder: {error.strerror}: {error.filename}") from error


def try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_version(path: Path) -> None:
    if not os.path.lexists(path):
        if any(one.suffix != ".toml" for one in path.parent.iterdir()):  # locations.toml may be there before the rest
            raise DataError(
                f"{path.parent} holds other things and no VERSION: not a data folder of mbashara; if it comes from a "
                "backup, bring VERSION from there too"
            )
        path.write_text(f"{DATA_VERSION}\n")
    found = path.read_text().strip()
    if found != str(DATA_VERSION):
        raise DataError(
            f"{path.parent} is of version {found}, this program of version {DATA_VERSION} / "
            "toleo la data si la programu hii"
        )


def _make_run(settings: Settings, owner: Account | None) -> None:
    """Where we are root the memory folder is root's, and so is nginx's in it: nginx's master is root too, and does what
    lies there. One that the account has made may be full of traps: it keeps its folders alone."""
    run, root = settings.run, owner and Account(0, 0)
    is_ours = run.exists() and run.stat().st_uid == os.geteuid()
    _make_folder(run, 0o755, root)
    for one in run.iterdir() if root and not is_ours else ():
        if one.is_symlink() or not one.is_dir():
            one.unlink()
        elif one.name == "nginx":
            shutil.rmtree(one)
    _make_folder(run / "nginx", 0o755, root)
    for name, mode in RUN_FOLDERS.items():
        _make_folder(run / name, mode, owner)


def _make_folder(path: Path, mode: int, owner: Account | None) -> None:
    if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
        raise DataError(f"{path} is a link that is not root's / ni kiungo kisicho cha root")
    path.mkdir(parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)
    _give(path, owner)


def keep_secret(path: Path, content: bytes, owner: Account | None) -> None:
    """Whole or not at all, for its owner alone. Root writes it as the owner: what lies in the folder may be a trap."""
    with _as_owner(owner):
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def _as_owner(owner: Account | None) -> Iterator[None]:
    if owner is None:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(owner.group_id)
    os.seteuid(owner.user_id)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _give(path: Path, owner: Account | None) -> None:
    if owner is not None and path.stat().st_uid != owner.user_id:
        os.chown(path, owner.user_id, owner.group_id)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _open_the_way_to(path: Path) -> None:
    """Lets other users pass through (not list) the folders above, as
    root's own home would keep the account out."""
    for folder in path.resolve().parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            log.warning("folder opened for passing through", folder=str(folder), account=ACCOUNT)
            folder.chmod(mode | stat.S_IXOTH)
