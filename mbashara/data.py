"""The data folder and its memory folder: made, checked for version, space and
another user, and handed to the unprivileged account."""

import errno
import fcntl
import os
import pwd
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from core.plain import N_
from mbashara import DATA_VERSION
from mbashara.plain import DataError
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
PROGRAM = (Path(__file__), Path(os.__file__), Path(structlog.__file__))
"""What the account reads of ours, Python's and the packages: catalogues of words, say."""
PEPPER_BYTES = 32
FD_VARIABLE = "MBASHARA_WRITING_FD"
RUN_FOLDERS = {"live": 0o755, "stills": 0o755, "sock": 0o755, "work": 0o755, "postgres": 0o700}

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.data")


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
        try:
            entry = pwd.getpwnam(ACCOUNT)  # of two that start at once one makes it
        except KeyError:
            why = made.stderr.strip()
            raise DataError(N_("cannot make the user {account}: {why}"), account=ACCOUNT, why=why) from None
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
    for path in (settings.data, *PROGRAM):
        _open_the_way_to(path)


def prepare(settings: Settings) -> None:
    """Makes what is missing of DATA and RUN. Raises DataError where they can't be ours."""
    _begin(settings)
    try:
        owner = account()
        for name, mode in {"": 0o755, **FOLDERS}.items():
            _make_folder(settings.data, name, mode, owner)
        _make_run(settings, owner)
        if owner is not None:
            for path in (settings.data, *PROGRAM):
                _open_the_way_to(path)
        if not settings.pepper_file.exists():
            keep_secret(settings.pepper_file, secrets.token_bytes(PEPPER_BYTES), owner)
        with as_owner(owner):
            _link(settings.public / "live", settings.live)
            _link(settings.public / "recordings", Path("../recordings"))
    except OSError as error:
        raise _cannot_use(error) from error


def check_begun(settings: Settings) -> None:
    """For commands on what is there: a folder whose name was mistyped is not made. Raises DataError."""
    if not os.path.lexists(settings.data / "VERSION"):
        raise _not_begun(settings)


def check_there(settings: Settings) -> None:
    """The same of commands that read but the files of settings in it, which may be there before the rest."""
    if not settings.data.is_dir():
        raise _not_begun(settings)


def _not_begun(settings: Settings) -> DataError:
    told = N_("no mbashara was begun in {path}: is --data (MBASHARA_DATA) right? `mbashara up` begins one")
    return DataError(told, path=settings.data.absolute())


def _begin(settings: Settings) -> None:
    """The data folder itself, and that it is one of ours."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        _check_version(settings.data / "VERSION")
    except OSError as error:
        raise _cannot_use(error) from error


def _cannot_use(error: OSError) -> DataError:
    return DataError(N_("cannot use the data folder: {why}: {path}"), why=error, path=error.filename)


def check_run(settings: Settings) -> None:
    """What `up` of root's has left is root's: an `up` of the account's could start no nginx there."""
    if not all(os.access(path, os.W_OK) for path in (settings.run, settings.run / "nginx")):
        raise DataError(N_("{path} is another user's, whose `up` ran here before: remove it"), path=settings.run)


def check_space(settings: Settings) -> None:
    free_mb = shutil.disk_usage(settings.data).free >> 20
    if free_mb < settings.min_free_mb:
        raise DataError(
            N_("only {free_mb} MB free in {path}, {needed_mb} MB needed"),
            path=settings.data, free_mb=free_mb, needed_mb=settings.min_free_mb,
        )  # fmt: skip


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Held by `up` as long as it runs, so that two can't share a data
    folder; taken before it touches what another `up` may be working on. The kernel drops it if we are killed."""
    _begin(settings)
    with open_lock(settings) as file:
        if not try_lock(file):
            raise DataError(N_("another mbashara runs on {path}"), path=settings.data)
        if file.writable():  # root's `up` may have made it
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


def open_lock(settings: Settings, name: str = "lock") -> IO[str]:
    """One that root made can be read by the account: that is enough to ask for it."""
    path = settings.data / name
    try:
        try:
            return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "r+")
        except PermissionError:
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        raise _cannot_use(error) from error


def keep_lock() -> None:
    """Of a child of `up` that writes into recordings: it holds the lock as long as it lives, and no child of its own
    does."""
    if FD_VARIABLE in os.environ:
        os.set_inheritable(int(os.environ[FD_VARIABLE]), False)


def try_lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_version(path: Path) -> None:
    if not os.path.lexists(path):
        if any(one.suffix != ".toml" for one in path.parent.iterdir()):  # locations.toml may be there before the rest
            raise DataError(
                N_(
                    "{path} holds other things and no VERSION: not a data folder of mbashara; if it comes from a "
                    "backup, bring VERSION from there too"
                ),
                path=path.parent,
            )
        with suppress(FileExistsError), path.open("x") as file:  # never through a link
            file.write(f"{DATA_VERSION}\n")
    found = path.read_text().strip()
    if found != str(DATA_VERSION):
        raise DataError(
            N_("{path} is of version {found}, this program of version {ours}"),
            path=path.parent, found=found, ours=DATA_VERSION,
        )  # fmt: skip


def _make_run(settings: Settings, owner: Account | None) -> None:
    """Where we are root the memory folder is root's, and so is nginx's in it: nginx's master is root too, and does what
    lies there. One that the account has made may be full of traps: it keeps its folders alone."""
    run, root = settings.run, owner and Account(0, 0)
    is_ours = run.exists() and run.stat().st_uid == os.geteuid()
    _make_folder(run, "", 0o755, root)
    for one in run.iterdir() if root and not is_ours else ():
        if one.is_symlink() or not one.is_dir():
            one.unlink()
        elif one.name == "nginx":
            shutil.rmtree(one)
    _make_folder(run, "nginx", 0o755, root)
    for name, mode in RUN_FOLDERS.items():
        _make_folder(run, name, mode, owner)


def _make_folder(base: Path, name: str, mode: int, owner: Account | None) -> None:
    """`name` below `base`, or `base` itself. From folder to folder by descriptor, and what is given away is what was
    opened: a process of the account's may put links into its folders while we look."""
    base.mkdir(parents=True, exist_ok=True)
    place = Path(os.path.abspath(base))
    folder = os.open(place.parent, _FOLDER)
    for part in (place.name, *Path(name).parts):
        try:
            inner = _open_folder(folder, part, base / name)
        finally:
            os.close(folder)
        folder = inner
    try:
        found = os.fstat(folder)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(folder, mode)
        if owner is not None and found.st_uid != owner.user_id:
            os.fchown(folder, owner.user_id, owner.group_id)
    finally:
        os.close(folder)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def _open_folder(parent: int, name: str, path: Path) -> int:
    """Made if it is new. A link is followed where it is root's, or our own."""
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError:
        link = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        found = os.fstat(link)
        if not stat.S_ISLNK(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        if found.st_uid not in (0, os.geteuid()):
            raise DataError(N_("{path} is a link that is not root's"), path=path)
        return os.open(os.readlink("", dir_fd=link), _FOLDER, dir_fd=parent)
    finally:
        os.close(link)


def keep_secret(path: Path, content: bytes, owner: Account | None) -> None:
    """Whole or not at all, for its owner alone. Root writes it as the owner: what lies in the folder may be a trap."""
    with as_owner(owner):
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def as_owner(owner: Account | None) -> Iterator[None]:
    """Root works as the account in its folders: what lies there may be a trap."""
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
