"""Pages of the staff that are no room's own: coming in, the own account, people, institutions, the audit log."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from core.staff.mail import Mailer
from core.staff.oidc.provider import Provider


@dataclass(frozen=True, slots=True)
class Office:
    """What these pages need of the world. `base_url` begins the links in letters; `emblems` is their folder; without
    `provider` nobody signs on elsewhere; `insecure_webhooks` may lead anywhere."""

    engine: Engine
    pepper: bytes
    mailer: Mailer
    base_url: str
    emblems: Path
    provider: Provider | None = None
    insecure_webhooks: bool = False
