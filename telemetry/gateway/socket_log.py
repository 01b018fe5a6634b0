"""Observes WebSockets: an id for each, a log line when one ends, and a count of the open ones."""

import logging
import time
from typing import Any
from urllib.parse import quote

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from telemetry.middleware.access_log import PATH_CHARACTERS
from telemetry.middleware.request_id import begin_request
from telemetry.monitoring.instruments import SOCKETS, SOCKETS_CLOSED

logger = logging.getLogger("telemetry.requests")

# The status of a handshake that is refused, that is, closed before it is accepted.
HANDSHAKE_REFUSED = 403


class ObservedSockets:
    """ASGI middleware around the WebSocket application."""

    def __init__(self, application: ASGI3Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        headers: Any = scope["headers"]  # type: ignore[typeddict-item]
        begin_request(dict(headers).get(b"x-request-id", b"").decode("latin-1"))
        arrived_at, opened, code = time.perf_counter(), False, 0

        async def receiving() -> ASGIReceiveEvent:
            nonlocal code
            event = await receive()
            if event["type"] == "websocket.disconnect":
                code = code or event.get("code") or 0
            return event

        async def sending(event: ASGISendEvent) -> None:
            nonlocal opened, code
            if event["type"] == "websocket.accept":
                opened = True
                SOCKETS.inc()
            elif event["type"] == "websocket.close":
                code = (event.get("code") or 1000) if opened else HANDSHAKE_REFUSED
            await send(event)

        client: Any = scope.get("client")
        try:
            await self.application(scope, receiving, sending)
        finally:
            if opened:
                SOCKETS.dec()
            SOCKETS_CLOSED.labels(code).inc()
            path = quote(scope["path"][:PATH_CHARACTERS], safe="/:")  # type: ignore[typeddict-item]
            extra = {
                "path": path,
                "status": code,
                "duration_ms": round((time.perf_counter() - arrived_at) * 1000, 1),
                "client": client[0] if client else "",
            }
            logger.info("WebSocket %s %s", path, code, extra=extra)
