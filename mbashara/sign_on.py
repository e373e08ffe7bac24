"""The provider of single sign-on that the settings name, if any."""

import structlog

from core.staff.oidc.provider import Provider, Registration
from core.web.staff.sign_on import CALLBACK
from mbashara.settings import Settings

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.staff")


def open_provider(settings: Settings) -> Provider | None:
    """None where none is named; also where its secret can't be read, as passwords and all else go on without it."""
    if not settings.oidc_issuer:
        return None
    try:
        secret = _secret(settings)
    except (OSError, ValueError) as error:
        log.error(
            "no single sign-on: the secret can't be read",
            file=str(settings.oidc_client_secret_file),
            why=type(error).__name__,
        )
        return None
    redirect_uri = f"{settings.base_url}/sw{CALLBACK}"
    names = settings.oidc_name_sw, settings.oidc_name_en
    return Provider(Registration(settings.oidc_issuer, settings.oidc_client_id, secret, redirect_uri, *names))


def _secret(settings: Settings) -> str:
    if settings.oidc_client_secret_file is None:
        return settings.oidc_client_secret
    secret = settings.oidc_client_secret_file.read_text().strip()
    if not secret:
        raise ValueError("the file is empty")
    return secret
