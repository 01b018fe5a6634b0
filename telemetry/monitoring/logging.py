"""Logging: one line an event, readable on a console or as JSON, with the request's id in it."""

import time
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from devices.access.current import calling_device
from telemetry.monitoring.redaction import redact_line

request_id: ContextVar[str] = ContextVar("request_id", default="")

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("console", "json")
# What a line may have beside its text.
EXTRAS = ("device_id", "method", "path", "route", "status", "status_code", "duration_ms", "client", "caller", "reason")


class Periodically:
    """Keeps a message that could be logged for every request to one in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last: float | None = None

    def due(self) -> bool:
        """Whether to log now. True counts as logged."""
        now = time.monotonic()
        if self.last is not None and now - self.last < self.seconds:
            return False
        self.last = now
        return True


def add_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Which request a line belongs to, and which device that is of, as far as it is known yet."""
    if identifier := request_id.get():
        event["request_id"] = identifier
    if device_id := calling_device.get():
        event.setdefault("device_id", device_id)
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
        structlog.stdlib.ExtraAdder(allow=EXTRAS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_request,
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
                    redact_line,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level if level in LEVELS else "INFO"},
        "loggers": {
            # Django's own handlers would print every line twice.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            # A refusal has its line already (telemetry.middleware.access_log); what failed has its traceback from here.
            "django.request": {"level": "ERROR"},
            # A traceback for each wrong Host or form, which anyone can send. The request's line has the reason.
            "django.security": {"level": "CRITICAL"},
            # With every statement come its parameters: sessions and the hashes of keys.
            "django.db.backends": {"level": "INFO"},
            # What it does at each sign-in; failures and locks are warnings.
            "axes": {"level": "WARNING"},
            # Four lines at every start, none of them for the operator.
            "daphne.server": {"level": "WARNING"},
            # uvicorn's handlers print what we would hide; its log of requests, with tickets, ours stands in for.
            "uvicorn": {"handlers": [], "propagate": True},
            "uvicorn.error": {"handlers": [], "propagate": True},
            "uvicorn.access": {"handlers": [], "propagate": False},
            # A traceback a second while Redis is away, which `realtime.announcing.breaker` says once.
            "channels_redis.pubsub": {"level": "CRITICAL"},
            # Clients log every request they make, at INFO: the simulator's, here.
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
        },
    }
