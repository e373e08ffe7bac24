"""The sender of webhooks (core/webhooks) in the work process: a thread with a loop and a few connections of its own."""

import asyncio
import threading
from collections.abc import Awaitable
from datetime import timedelta

import structlog

from core.database import open_engine
from core.webhooks import outbox
from core.webhooks.sender import Rules, Sender
from mbashara.bell import Bell
from mbashara.settings import Settings

CONNECTIONS = 4
STOP_S = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.webhooks")


def rules(settings: Settings) -> Rules:
    return Rules(
        settings.webhook_timeout_s, settings.webhook_retry_s, settings.webhook_give_up_s,
        timedelta(days=settings.webhook_kept_days), settings.webhook_insecure,
    )  # fmt: skip


def start(settings: Settings, bell: Bell, stopping: threading.Event) -> threading.Thread:
    """A daemon: what it was sending when the process ends is sent again by the next one."""
    rung = bell.on(outbox.is_due)
    thread = threading.Thread(target=_run, args=(settings, rung, stopping), name="webhooks", daemon=True)
    thread.start()
    return thread


def _run(settings: Settings, rung: threading.Event, stopping: threading.Event) -> None:
    def pause() -> Awaitable[None]:
        return asyncio.to_thread(_wait, rung)

    engine = open_engine(settings.sqlalchemy_url, pool_size=CONNECTIONS)
    while not stopping.is_set():
        try:
            sender = Sender(engine, settings.pepper_file.read_bytes(), rules(settings), pause=pause)
            asyncio.run(sender.run(stopping.is_set))
        except Exception:
            log.exception("the sender of webhooks fell, and begins anew")
            stopping.wait(STOP_S)
    engine.dispose()


def _wait(rung: threading.Event) -> None:
    rung.wait()
    rung.clear()
