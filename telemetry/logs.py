"""Logging: one line an event, readable on a console or as JSON, with the request's id in it."""

from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

request_id: ContextVar[str] = ContextVar("request_id", default="")

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("console", "json")


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if identifier := request_id.get():
        event["request_id"] = identifier
    return event


def console_renderer() -> structlog.dev.ConsoleRenderer:
    # Plain tracebacks: the pretty ones print local variables, and with them keys.
    return structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)


def logging_config(*, level: str, output: str) -> dict[str, Any]:
    """The `LOGGING` setting; a wrong level or format is a system check's to report, not ours to crash on."""
    renderer = structlog.processors.JSONRenderer() if output == "json" else console_renderer()
    before = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow={"device_id", "status_code"}),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_request_id,
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": before,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *([structlog.processors.format_exc_info] if output == "json" else []),
                    renderer,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level if level in LEVELS else "INFO"},
        "loggers": {
            # Django's own handlers would print every line twice.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            # Four lines at every start, none of them for the operator.
            "daphne.server": {"level": "WARNING"},
            # Clients log every request they make, at INFO: the simulator's, here.
            "httpx": {"level": "WARNING"},
        },
    }
