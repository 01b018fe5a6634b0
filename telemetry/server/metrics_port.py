"""`/metrics` and `/health/live` of `manage.py mqtt`, on MQTT_METRICS_PORT of HOST. `up` has them on PORT."""

import asyncio
import logging
from http import HTTPStatus

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from devices.access.authentication import key_in
from devices.access.callers import Role, shared_key_caller
from devices.database.runner import DatabaseRunner
from devices.database.work_kinds import Work

logger = logging.getLogger(__name__)

HEAD_BYTES_MAX = 8 * 1024
# Seconds for a request and its answer, and of these for the database.
SECONDS, ANSWER_SECONDS = 8.0, 5.0
CONNECTIONS_MAX = 20


class MetricsPort:
    def __init__(self) -> None:
        self.server: asyncio.Server | None = None
        self.open = 0
        # Some metrics are read from the database.
        self.runner = DatabaseRunner("metrics", work=Work.QUESTION, threads=1, seconds=ANSWER_SECONDS, waiting_max=5)

    async def start(self) -> None:
        """Raises OSError if the port is taken."""
        self.server = await asyncio.start_server(
            self.serve, settings.HOST, settings.MQTT_METRICS_PORT, limit=HEAD_BYTES_MAX
        )

    def stop(self) -> None:
        if self.server is not None:
            self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            if self.open <= CONNECTIONS_MAX:
                async with asyncio.timeout(SECONDS):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    status, content = answer(head)
                    if status is HTTPStatus.OK and not content:
                        status, content = await self.metrics()
                    writer.write(response(status, content))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def metrics(self) -> tuple[HTTPStatus, bytes]:
        try:
            return HTTPStatus.OK, await self.runner.run(generate_latest, REGISTRY)
        except (DatabaseError, InterfaceError) as error:  # it hangs; if it is only away, the others are there
            return HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode()


def answer(head: str) -> tuple[HTTPStatus, bytes]:
    """The status and the content for a request with this head; OK without content: the metrics."""
    request, *lines = head.split("\r\n")
    method, target, *_ = [*request.split(" "), "", ""]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    path = target.partition("?")[0].rstrip("/")
    if method != "GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, b""
    if path == "/health/live":
        return HTTPStatus.OK, b"ok\n"
    if path != "/metrics":
        return HTTPStatus.NOT_FOUND, b""
    key = key_in(api_key=headers.get("x-api-key"), authorization=headers.get("authorization"))
    caller = shared_key_caller(key) if key else None
    if caller is None or caller.role is not Role.ADMIN:
        return HTTPStatus.UNAUTHORIZED, b"Send the administrator's key.\n"
    return HTTPStatus.OK, b""


def response(status: HTTPStatus, content: bytes) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {CONTENT_TYPE_LATEST}\r\n"
    return f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content
