"""The places where copies are kept, as an operator names them in locations.toml:

    [[location]]
    name = "arusha"
    kind = "s3"                              # or "folder" with path = "/mnt/arusha/mbashara"
    endpoint_url = "https://s3.arusha.go.tz" # left out: Amazon's of the region
    bucket = "kumbukumbu"
    prefix = "mbashara"
    credentials_file = "arusha.toml"         # access_key_id and secret_access_key; or both right here
    tier = "cold"
    fixity_days = 180
    lock_days = 3650

A file that holds credentials must be readable by its owner alone. They are in no repr, no log line and no error.
"""

import os
import pwd
import re
import stat
import tomllib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from archive.words import LOCALE, N_
from core.plain import PlainError
from core.wrong_input import WrongInput, first_wrong

LOCAL = "local"
"""The name of the recordings' own folder, where each copy comes from."""
OWNER = "mbashara"
"""Whom root starts the processes as."""
Tier = Literal["hot", "cold"]
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class LocationError(PlainError):
    """locations.toml can't be used; one line that names file, location and field."""

    catalogues = (LOCALE,)


class WrongField(WrongInput):
    catalogues = (LOCALE,)


def _is_slug(text: str) -> str:
    if _SLUG.fullmatch(text) is None:
        raise WrongField(N_("1 to 32 of a-z, 0-9 and - between them"))
    return text


def _is_absolute(path: Path) -> Path:
    if not path.is_absolute() or "\0" in str(path):
        raise WrongField(N_("a path from / on"))
    return path


def _is_endpoint(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise WrongField(N_("not https://NAME"))
    if ":" not in parts.hostname and not all(map(_HOST.fullmatch, parts.hostname.split("."))):
        raise WrongField(N_("a name of letters, digits, - and ."))
    return text.rstrip("/")


def _is_prefix(text: str) -> str:
    if text and (_PREFIX.fullmatch(text) is None or {".", ".."} & set(text.split("/"))):
        raise WrongField(N_("letters, digits, . _ - and / between them"))
    return text


class _Location(BaseModel, ABC):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, AfterValidator(_is_slug)]
    tier: Tier = Field("hot", description="cold: reading it back takes long, or costs.")
    fixity_days: float = Field(90, gt=0, le=3660, description="Days in which every file of it is read again.")
    title_sw: str = Field("", max_length=100)
    title_en: str = Field("", max_length=100)

    @property
    @abstractmethod
    def place(self) -> tuple[str, ...]:
        """Where the files really lie; one within another is the same place."""


class FolderLocation(_Location):
    kind: Literal["folder"] = "folder"
    path: Annotated[Path, AfterValidator(_is_absolute)]

    @property
    def place(self) -> tuple[str, ...]:
        return ("", *Path(os.path.realpath(self.path)).parts)


class Credentials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    access_key_id: SecretStr = Field(min_length=1)
    secret_access_key: SecretStr = Field(min_length=1)


class S3Location(_Location):
    kind: Literal["s3"] = "s3"
    bucket: str = Field(pattern=_BUCKET)
    credentials: Credentials = Field(repr=False)
    endpoint_url: Annotated[str, AfterValidator(_is_endpoint)] | None = None
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,64}$")
    prefix: Annotated[str, AfterValidator(_is_prefix)] = ""
    ca_file: Annotated[Path, AfterValidator(_is_absolute)] | None = Field(
        None, description="Certificates to trust instead of the system's."
    )
    lock_days: int = Field(0, ge=0, le=36_600, description="Days that object lock keeps each file; 0: none.")
    lock_mode: Literal["governance", "compliance"] = "governance"

    @property
    def place(self) -> tuple[str, ...]:
        return (self.endpoint_url or "", self.bucket, *filter(None, self.prefix.split("/")))

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if self.ca_file is not None and not os.path.isfile(self.ca_file):  # nor one that we may not see
            raise WrongField(N_("ca_file: there is no such file"))
        return self


Location = FolderLocation | S3Location


def local(recordings: Path) -> FolderLocation:
    """The recordings' own folder as a location among the others."""
    return FolderLocation(name=LOCAL, path=recordings, title_sw="Mashine hii", title_en="This machine")


def read_locations(file: Path, recordings: Path) -> tuple[Location, ...]:
    """In the file's order; none where there is no file. None of them may be `recordings`. Raises LocationError."""
    try:
        table = _read_table(file)
    except FileNotFoundError:
        return ()
    entries = table.pop("location", [])
    if table or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        unknown = next(iter(table), "location")
        raise LocationError(N_("{file}: {unknown}: only [[location]] tables"), file=file, unknown=unknown)
    found = tuple(_read_location(file, number, entry) for number, entry in enumerate(entries, 1))
    _check_clashes(file, (local(recordings), *found))
    return found


def being_written(file: Path) -> LocationError:
    """Nobody can say yet what the file will say."""
    return LocationError(N_("{file}: it is just being written"), file=file)


def _read_location(file: Path, number: int, entry: dict[str, Any]) -> Location:
    where = f"{file}: location {' '.join(str(entry.get('name', number)).split())}"
    try:
        match entry.get("kind"):
            case "folder":
                return FolderLocation.model_validate(entry)
            case "s3":
                return S3Location.model_validate(_with_credentials(file, where, entry))
            case _:
                raise LocationError(N_("{where}: kind: folder or s3"), where=where)
    except ValidationError as error:
        raise _wrong(where, error) from None


def _with_credentials(file: Path, where: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with `credentials` in the place of what names or holds them."""
    entry = dict(entry)
    inline = {name: entry.pop(name) for name in Credentials.model_fields if name in entry}
    named = entry.pop("credentials_file", None)
    if bool(inline) == bool(named):
        raise LocationError(
            N_("{where}: credentials_file: give it, or access_key_id and secret_access_key"), where=where
        )
    if named is None:
        _check_private(file, where)
        return entry | {"credentials": inline}
    path = file.parent / str(named)
    try:
        _check_private(path, where)
        table = _read_table(path)
    except FileNotFoundError:
        raise LocationError(N_("{where}: credentials_file: there is no {path}"), where=where, path=path) from None
    try:
        return entry | {"credentials": Credentials.model_validate(table)}
    except ValidationError as error:
        raise _wrong(f"{where}: credentials_file: {path}", error) from None


def _read_table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise LocationError(N_("{file}: {why}: not TOML"), file=file, why=error) from None
    except UnicodeDecodeError:
        raise LocationError(N_("{file}: not UTF-8"), file=file) from None
    except FileNotFoundError:
        raise
    except PermissionError:
        raise LocationError(N_("{file}: {user} may not read it (chown {user})"), file=file, user=_user()) from None
    except OSError as error:
        raise LocationError(N_("{file}: can't be read: {why}"), file=file, why=error) from None


def _check_private(file: Path, where: str) -> None:
    found = file.stat()
    if stat.S_IMODE(found.st_mode) & 0o077 or os.geteuid() not in (0, found.st_uid):
        raise LocationError(
            N_("{where}: {file} holds credentials, so it must be {user}'s and closed to others "
               "(chown {user}, chmod 600)"),
            where=where, file=file, user=_user(),
        )  # fmt: skip


def _user() -> str:
    """Who must be able to read it: the processes, which root starts as another."""
    user_id = os.geteuid()
    try:
        return pwd.getpwuid(user_id).pw_name if user_id else OWNER
    except KeyError:
        return str(user_id)


def _wrong(where: str, error: ValidationError) -> LocationError:
    """WHERE: FIELD: what is wrong with it, without what was written there."""
    place, text = first_wrong(error)
    field = ".".join(part for part in place.split(".") if part and part != "credentials")
    return LocationError(lambda language: ": ".join(filter(None, (where, field, text(language)))))


def _check_clashes(file: Path, locations: tuple[Location, ...]) -> None:
    """Two copies in one place are one copy."""
    for number, one in enumerate(locations):
        for other in locations[:number]:
            shorter = min(len(one.place), len(other.place))
            place = other.path if isinstance(other, FolderLocation) and other.name == LOCAL else other.name
            told = {"file": file, "name": one.name, "other": place}
            if one.name == other.name:
                raise LocationError(N_("{file}: location {name}: name: given twice"), **told)
            if one.place[:shorter] == other.place[:shorter]:
                raise LocationError(N_("{file}: location {name}: the same place as {other}"), **told)
