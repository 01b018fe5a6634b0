"""The ASGI lifespan application, which servers other than daphne call when they start and stop."""

import logging
import sys
from typing import Any

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable

from readings.alarms.upkeep.heartbeat import heart

logger = logging.getLogger(__name__)

# uvicorn options, by the module that uvicorn imports for each.
UVICORN_OPTIONS = {
    "telemetry.server.uvicorn_http": "--http telemetry.server.uvicorn_http:Protocol",
    "telemetry.server.uvicorn_websockets": "--ws telemetry.server.uvicorn_websockets:Socket",
}


async def lifespan(scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Handles the scope `lifespan`. Logs a warning if uvicorn runs without the classes that limit connections."""
    await receive()
    heart.start()
    missing = [option for module, option in UVICORN_OPTIONS.items() if module not in sys.modules]
    if "uvicorn" in sys.modules and missing:
        options = " ".join(missing)
        logger.warning("uvicorn was started without %s, so connections have no limits (docs/operations.md)", options)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
