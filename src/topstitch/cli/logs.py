"""Decides what the log looks like: one line per entry on standard error, JSON when nobody is at a terminal.

What an entry carries, and what never stands in it, is decided by ``metrics.logs``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def start_log(level: str) -> None:
    """Begin to log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(terminal=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for noisy in ("uvicorn.access", "aiohttp.access", "asyncio", "mail.log", "uvicorn.error", "opentelemetry"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def formatter(*, terminal: bool) -> logging.Formatter:
    """Return what writes one entry: for a person at a terminal, or as a line of JSON."""
    import structlog

    from topstitch.metrics.logs import named, redact

    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        named,
    ]
    renderer: Any = structlog.processors.JSONRenderer()
    if terminal:
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
    )
