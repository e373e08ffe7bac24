"""Every setting of Mbashara: one frozen object, read once at the top of each
process from MBASHARA_* (README's table is this file)."""

import hashlib
import os
import re
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.plain import N_
from core.staff.oidc.metadata import is_safe_url
from mbashara.plain import WrongSetting


class Address(tuple[str, int]):
    """A host and a port, written HOST:PORT or [HOST]:PORT."""

    __slots__ = ()

    @property
    def host(self) -> str:
        return self[0]

    @property
    def port(self) -> int:
        return self[1]

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> "Address":
        """Where a client on this machine finds it: a wildcard host becomes loopback."""
        return Address((LOOPBACK.get(self.host, self.host), self.port))


ADDRESS_PATTERN = re.compile(r"(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def parse_address(text: str) -> Address:
    found = ADDRESS_PATTERN.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise WrongSetting(N_("{text!r} is not HOST:PORT"), text=text)
    return Address((found["v6"] or found["host"] or "", int(found["port"])))


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MBASHARA_", frozen=True, extra="ignore", env_ignore_empty=True)

    data: Path = Field(Path("data"), description="Folder of everything that is kept: recordings, database, secrets.")
    http: str = Field("127.0.0.1:8080", description="HOST:PORT where viewers and browsers reach the edge.")
    public_url: str = Field(
        "",
        description="The edge as others reach it, for links in e-mails: https://NAME (default: MBASHARA_HTTP).",
    )
    rtmp: str = Field("0.0.0.0:1935", description="HOST:PORT where encoders publish.")
    database_url: str = Field(
        "", description="PostgreSQL to use instead of the embedded one: postgresql://USER@HOST/NAME."
    )
    media_database_url: str = Field(
        "",
        description="The same database as media processes reach it, by a role that only reads what they need; "
        "it is given the rights, not made (default: MBASHARA_DATABASE_URL).",
    )
    public_rtmp_url: str = Field(
        "",
        description="Where encoders publish, as the console shows it: rtmp://HOST:PORT/live (default: MBASHARA_RTMP).",
    )
    smtp_url: str = Field(
        "",
        description="Mail server for letters to staff: smtp://USER:PASSWORD@HOST:PORT (default: files in DATA/mail).",
    )
    mail_from: str = Field("Mbashara <mbashara@localhost>", description="Sender of letters to staff.")
    oidc_issuer: str = Field(
        "",
        description="OpenID Connect provider that staff may sign on with: https://NAME, as its tokens spell it "
        "(default: none, and nothing of it is shown).",
    )
    oidc_client_id: str = Field("", description="Our name at that provider.")
    oidc_client_secret: str = Field("", repr=False, description="Our secret there; better: the file below.")
    oidc_client_secret_file: Path | None = Field(
        None, validate_default=True, description="File that holds the secret; the user of the processes reads it."
    )
    oidc_name_sw: str = Field("Ingia kwa akaunti ya Serikali", description="What the button says in Swahili.")
    oidc_name_en: str = Field("Log in with a Government account", description="What the button says in English.")
    media_workers: int = Field(1, ge=1, le=64, description="Media processes; a channel always lives in the same one.")
    part_target_s: float = Field(
        0.5,
        ge=0.1,
        le=2,
        description="Seconds in a part (PART-TARGET) of broadcasts that start from now on; "
        "up to a tenth more where that divides a GOP of two seconds evenly.",
    )
    target_duration_s: int = Field(4, ge=1, le=10, description="Seconds in a segment at most (TARGETDURATION).")
    window_s: int = Field(
        900, ge=24, le=14400, description="Seconds of a live broadcast that a viewer can seek back in."
    )
    reconnect_window_s: float = Field(30, ge=0, description="Seconds a broadcast waits for a lost feed before it ends.")
    planned_wait_s: float = Field(
        14_400, ge=60, description="Seconds a planned broadcast waits for a lost feed; people end it before that."
    )
    stall_timeout_s: float = Field(
        6, gt=0, description="Seconds without a packet after which a feed counts as stalled."
    )
    webhook_timeout_s: float = Field(10, gt=0, le=60, description="Seconds a webhook's receiver has to answer.")
    webhook_retry_s: float = Field(
        5, ge=0.05, description="Seconds until a webhook is sent again; three times as long each time, up to 6 hours."
    )
    webhook_give_up_s: float = Field(
        259_200, gt=0, description="Seconds after which a webhook that never arrives is switched off."
    )
    webhook_kept_days: int = Field(30, ge=1, description="Days that a webhook's past deliveries are kept.")
    webhook_insecure: bool = Field(
        False, description="Whether webhooks may go over http and into private networks: for demos and tests."
    )
    ladder: bool = Field(True, description="Whether to transcode the rungs below the source.")
    viewers_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="UDP port on loopback where the edge tells of requests for playlists; 0: any free one.",
    )
    dry_run_minutes: float = Field(2, ge=0.1, le=30, description="Minutes that a dry run lasts at most.")
    dry_runs: int = Field(2, ge=0, le=16, description="Dry runs at once, of all channels; 0: none.")
    timestamp_url: str = Field(
        "", description="RFC 3161 authority that time-stamps signatures of recordings: https://NAME (default: none)."
    )
    timestamp_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that its own leads to; without them its stamps are taken on trust."
    )
    timestamp_user: str = Field("", description="Our name at that authority, where it wants one.")
    timestamp_password: str = Field("", repr=False, description="Our password there.")
    locations_file: Path | None = Field(
        None,
        description="TOML file of the places where copies of recordings are kept (default: DATA/locations.toml).",
    )
    imports: int = Field(
        0,
        ge=0,
        le=10,
        description="Files made into recordings at once; 0: one less than there are processors, 1 to 10.",
    )
    import_max_hours: float = Field(24, gt=0, description="Hours that an imported file may last.")
    upload_max_gb: float = Field(200, gt=0, description="Gigabytes that an uploaded file may have.")
    upload_expires_hours: float = Field(48, gt=0, description="Hours after which an upload that stopped is removed.")
    uploads_gb: float = Field(
        500, gt=0, description="Gigabytes of one institution's files that are not recordings yet, failed ones too."
    )
    upload_reserve_gb: float = Field(
        10, ge=0, description="Gigabytes that uploads leave to what is on the air, above MBASHARA_MIN_FREE_MB."
    )
    uploads_open: int = Field(20, ge=1, description="Uploads of one institution that are not finished.")
    exports: int = Field(1, ge=1, le=10, description="Exports of recordings made at once.")
    export_max_hours: float = Field(6, gt=0, description="Hours that an export may take.")
    export_kept_days: float = Field(7, gt=0, description="Days that an export's files can be fetched; then they go.")
    run_dir: Path | None = Field(
        None, description="Memory folder of the live window and sockets (default: one of this data folder)."
    )
    min_free_mb: int = Field(512, ge=0, description="Megabytes that must be free in the data folder for `up` to start.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    language: Literal["", "sw", "en"] = Field(
        "",
        description="Language of what commands say: sw or en (default: the locale's; both where that is neither).",
    )

    @field_validator("data", "run_dir", "locations_file", "oidc_client_secret_file", "timestamp_ca_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and Path(os.path.abspath(path.expanduser()))

    @field_validator("http", "rtmp")
    @classmethod
    def _is_address(cls, text: str) -> str:
        return str(parse_address(text))

    @field_validator("public_url", "timestamp_url")
    @classmethod
    def _is_url(cls, text: str) -> str:
        parts = urlsplit(text)
        if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
            raise WrongSetting(N_("{text!r} is not https://NAME"), text=text)
        return text.rstrip("/")

    @field_validator("database_url", "media_database_url")
    @classmethod
    def _is_postgresql(cls, text: str) -> str:
        if text and not re.match(r"postgres(ql)?(\+psycopg)?://", text):
            raise WrongSetting(N_("it is not postgresql://USER@HOST/NAME"))  # it may hold a password: not repeated
        return text

    @field_validator("media_database_url")
    @classmethod
    def _is_outside(cls, text: str, info: ValidationInfo) -> str:
        if text and not info.data.get("database_url"):
            raise WrongSetting(N_("MBASHARA_MEDIA_DATABASE_URL goes with MBASHARA_DATABASE_URL"))
        return text

    @field_validator("oidc_issuer")
    @classmethod
    def _is_issuer(cls, text: str) -> str:
        if text and (not is_safe_url(text) or "?" in text):
            raise WrongSetting(N_("{text!r} is not https://NAME"), text=text)
        return text

    @field_validator("oidc_client_secret_file")
    @classmethod
    def _is_whole(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        given = info.data
        if given.get("oidc_issuer") and not (given.get("oidc_client_id") and (given.get("oidc_client_secret") or path)):
            raise WrongSetting(N_("with MBASHARA_OIDC_ISSUER go MBASHARA_OIDC_CLIENT_ID and a secret, or its file"))
        return path

    @property
    def base_url(self) -> str:
        """What a link's path is added to."""
        return self.public_url or f"http://{self.http_address.reachable}"

    @property
    def http_address(self) -> Address:
        return parse_address(self.http)

    @property
    def rtmp_address(self) -> Address:
        return parse_address(self.rtmp)

    @cached_property
    def run(self) -> Path:
        """The memory folder: /dev/shm where there is one, so that parts never touch a disk."""
        if self.run_dir is not None:
            return self.run_dir
        memory = Path("/dev/shm")  # noqa: S108
        base = memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
        return base / f"mbashara-{hashlib.sha256(str(self.data).encode()).hexdigest()[:12]}"

    @property
    def live(self) -> Path:
        return self.run / "live"

    @property
    def stills(self) -> Path:
        """A picture of each feed, CHANNEL.ROLE.jpg: for staff alone."""
        return self.run / "stills"

    @property
    def recordings(self) -> Path:
        return self.data / "recordings"

    @property
    def locations(self) -> Path:
        return self.locations_file or self.data / "locations.toml"

    @property
    def imports_folder(self) -> Path:
        """Files on their way to become recordings, each under its id."""
        return self.data / "imports"

    @property
    def exports_folder(self) -> Path:
        """Files that were made of recordings for people to fetch, each export's under its id."""
        return self.data / "exports"

    @property
    def c2pa_folder(self) -> Path:
        """Who signs content credentials."""
        return self.data / "secrets" / "c2pa"

    @property
    def imports_at_once(self) -> int:
        return self.imports or max(1, min(10, (os.cpu_count() or 2) - 1))

    @property
    def public(self) -> Path:
        return self.data / "public"

    @property
    def emblems(self) -> Path:
        return self.public / "brand"

    @property
    def mail_folder(self) -> Path:
        """Letters to staff, where there is no mail server."""
        return self.data / "mail"

    @property
    def pepper_file(self) -> Path:
        return self.data / "secrets" / "pepper"

    @property
    def postgres_passfile(self) -> Path:
        """The password of the embedded database's superuser, as libpq reads it."""
        return self.data / "secrets" / "postgres"

    @property
    def signing_keys(self) -> Path:
        """Private keys of institutions, one file each."""
        return self.data / "secrets" / "signing"

    @property
    def keys_file(self) -> Path:
        return self.data / "state" / "keys.json"

    @property
    def supervisor_file(self) -> Path:
        """What the supervisor tells the others: each child's state, process id and restarts."""
        return self.run / "supervisor.json"

    @property
    def viewers_file(self) -> Path:
        """How many watch each channel now, as the work process counts."""
        return self.run / "work" / "viewers.json"

    @property
    def levels_file(self) -> Path:
        """How loud each feed is, as the stills process measures."""
        return self.stills / "levels.json"

    @property
    def levels_looked_file(self) -> Path:
        """Touched while someone looks at them."""
        return self.stills / "levels.looked"

    @property
    def heartbeat_file(self) -> Path:
        """Touched by the work process at every round."""
        return self.run / "work" / "heartbeat"

    def socket(self, name: str) -> Path:
        """The Unix socket of `web` or of `media-N`."""
        return self.run / "sock" / f"{name}.sock"

    @property
    def sqlalchemy_url(self) -> str:
        """The server named, else the embedded one through its socket (a folder that only its user and root may enter),
        as its superuser, whose password those alone can read who can read secrets."""
        passfile = f"passfile={quote(str(self.postgres_passfile))}"
        return self.database_url or f"postgresql://postgres@/{self._embedded}&{passfile}"

    def media_url(self, password: str) -> str:
        """What media asks: the server that it is told of (supervisor.py), else the embedded one in its role."""
        return self.database_url or f"postgresql://media:{password}@/{self._embedded}"

    @property
    def _embedded(self) -> str:
        return f"mbashara?host={quote(str(self.run / 'postgres'))}"

    def environment(self) -> dict[str, str]:
        """MBASHARA_* that make a child read the very same settings."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"MBASHARA_{name.upper()}": str(value) for name, value in values.items()}
