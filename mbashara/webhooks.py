"""The sender of webhooks (core/webhooks) in the work process: a thread with a loop and a few connections of its own."""

import asyncio
import threading
from datetime import timedelta

import structlog

from core.database import open_engine
from core.webhooks.sender import Rules, Sender
from mbashara.settings import Settings

CONNECTIONS = 4
STOP_S = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.webhooks")


def rules(settings: Settings) -> Rules:
    return Rules(
        settings.webhook_timeout_s, settings.webhook_retry_s, settings.webhook_give_up_s,
        timedelta(days=settings.webhook_kept_days), settings.webhook_insecure,
    )  # fmt: skip


def start(settings: Settings, stopping: threading.Event) -> threading.Thread:
    """A daemon: what it was sending when the process ends is sent again by the next one."""
    thread = threading.Thread(target=_run, args=(settings, stopping), name="webhooks", daemon=True)
    thread.start()
    return thread


def _run(settings: Settings, stopping: threading.Event) -> None:
    engine = open_engine(settings.sqlalchemy_url, pool_size=CONNECTIONS)
    while not stopping.is_set():
        try:
            asyncio.run(Sender(engine, settings.pepper_file.read_bytes(), rules(settings)).run(stopping.is_set))
        except Exception:
            log.exception("the sender of webhooks fell, and begins anew")
            stopping.wait(STOP_S)
    engine.dispose()
