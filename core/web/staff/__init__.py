"""Pages of the staff that are no room's own: coming in, the own account, people, institutions, the audit log."""

from dataclasses import dataclass

from sqlalchemy import Engine

from core.staff.mail import Mailer


@dataclass(frozen=True, slots=True)
class Office:
    """What these pages need of the world. `base_url` begins the links in letters. `insecure_webhooks`: they
    may lead anywhere."""

    engine: Engine
    pepper: bytes
    mailer: Mailer
    base_url: str
    insecure_webhooks: bool = False
