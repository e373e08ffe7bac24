"""Structured logs on standard error: JSON lines, or colours on a
terminal. What looks like a secret never gets out."""

import logging
import sys

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

SECRET_NAMES = frozenset({"key", "stream_key", "primary_key", "backup_key", "password", "token", "pepper", "secret"})
QUIET = ("alembic", "dbos", "httpx", "uvicorn.access")
"""Libraries of which only warnings are news."""


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in SECRET_NAMES & event.keys():
        event[name] = "***"
    return event


def configure(process: str, level: str) -> None:
    """Sends structlog's and the standard library's records through one
    chain. Called once, at a process's top."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        structlog.processors.StackInfoRenderer(),
    ]
    # In place: a logger that was used before, as tests use them, holds this very list.
    processors = structlog.get_config()["processors"]
    processors[:] = [
        structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]  # fmt: skip
    structlog.configure(
        processors=processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_renderers()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)


def adopt(library: str) -> None:
    """Takes the records of a library that brought handlers of its own into our chain."""
    logger = logging.getLogger(library)
    logger.handlers.clear()
    logger.propagate = True


def _renderers() -> list[Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if sys.stderr.isatty():
        return [remove_meta, structlog.dev.ConsoleRenderer()]
    return [remove_meta, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
