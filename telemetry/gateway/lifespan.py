"""ASGI's lifespan: what is checked when a server other than daphne has started."""

import logging
import sys
from typing import Any

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable

logger = logging.getLogger(__name__)

# By the module that uvicorn imports for the option.
UVICORN_OPTIONS = {
    "telemetry.server.uvicorn_http": "--http telemetry.server.uvicorn_http:Protocol",
    "telemetry.server.uvicorn_websockets": "--ws telemetry.server.uvicorn_websockets:Socket",
}


async def lifespan(scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """The application of the scope `lifespan`. Warns where uvicorn runs without the classes that have our limits."""
    await receive()
    missing = [option for module, option in UVICORN_OPTIONS.items() if module not in sys.modules]
    if "uvicorn" in sys.modules and missing:
        options = " ".join(missing)
        logger.warning(
            "uvicorn was started without %s, so limits of connections are missing (docs/operations.md)", options
        )
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
