"""Logging: one line for each event, as text or JSON, with the request id."""

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
# Extra fields that a log line may have.
EXTRAS = ("device_id", "method", "path", "route", "status", "status_code", "duration_ms", "client", "caller", "reason")


class Periodically:
    """Limits a repeated message to one in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last: float | None = None

    def due(self) -> bool:
        """Whether to log now. If it returns True, the message counts as logged."""
        now = time.monotonic()
        if self.last is not None and now - self.last < self.seconds:
            return False
        self.last = now
        return True


def add_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the request id, and the device id if it is known already."""
    if identifier := request_id.get():
        event["request_id"] = identifier
    if device_id := calling_device.get():
        event.setdefault("device_id", device_id)
    return event


def console_renderer() -> structlog.dev.ConsoleRenderer:
    # Plain tracebacks, because the pretty ones print local variables, which can contain keys.
    return structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)


def logging_config(*, level: str, output: str) -> dict[str, Any]:
    """The `LOGGING` setting. A wrong level or format is ignored here, because a system check reports it."""
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
            # Without Django's own handlers, which would print every line twice.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            # Refusals are in telemetry.middleware.access_log already; failures get their traceback from here.
            "django.request": {"level": "ERROR"},
            # Anyone can cause its tracebacks with a wrong Host or form. The access log has the reason.
            "django.security": {"level": "CRITICAL"},
            # DEBUG lines contain parameters of statements, such as sessions and hashes of keys.
            "django.db.backends": {"level": "INFO"},
            # INFO lines are about every sign-in; failures and locks are warnings.
            "axes": {"level": "WARNING"},
            # INFO lines at every start are of no use to operators.
            "daphne.server": {"level": "WARNING"},
            # uvicorn's handlers do not hide keys, and its access log contains tickets; ours replaces it.
            "uvicorn": {"handlers": [], "propagate": True},
            "uvicorn.error": {"handlers": [], "propagate": True},
            "uvicorn.access": {"handlers": [], "propagate": False},
            # It logs a traceback each second while Redis is down; `realtime.announcing.breaker` logs that once.
            "channels_redis.pubsub": {"level": "CRITICAL"},
            # At INFO, HTTP clients log every request; here that is the simulator.
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            # Apprise quotes URLs with their tokens. Its answers are read where a message is sent.
            "apprise": {"level": "CRITICAL", "propagate": False},
        },
    }
