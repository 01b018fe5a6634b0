"""Is this process alive, is it ready for requests, and can it do all its work? Three questions, asked by three."""

import asyncio
import logging
import threading

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from readings.rounds import is_late, last_round

logger = logging.getLogger(__name__)

PROBE_SECONDS = 2
# Longer than a connection that is not there waits to find out (telemetry.environment.DATABASE_WAIT_SECONDS).
DATABASE_PROBE_SECONDS = 5

# Set once this process has been told to stop: what it has, it finishes; more, it shall not get.
draining = threading.Event()


@require_safe
async def health(request: HttpRequest) -> JsonResponse:
    """`/health`, for people and alerts: 503 without the database; 200 "degraded" without the channel layer.

    200 "degraded" with `"maintenance": "late"` where no process has completed a round of maintenance for too long.
    """
    checks = {"database": await probe_database(), "channel_layer": await probe_channel_layer()}
    if checks["database"] == "ok" and await maintenance_is_late():
        checks["maintenance"] = "late"
    status = "ok" if checks["channel_layer"] == "ok" and "maintenance" not in checks else "degraded"
    if checks["database"] != "ok":
        status = "unavailable"
    return answer(status, checks, ready=status != "unavailable")


@require_safe
async def live(request: HttpRequest) -> JsonResponse:
    """`/health/live`, for whoever restarts the process: 200 as long as it answers at all. Asks nothing of anybody."""
    return JsonResponse({"status": "ok"})


@require_safe
async def ready(request: HttpRequest) -> JsonResponse:
    """`/health/ready`, for whoever sends it requests: 503 without a database, before it is migrated, while draining.

    The channel layer does not count: without it all is stored, and a proxy that turned away from every process at
    once would make an outage of it.
    """
    checks = {"database": await probe_database(), "migrations": "unknown", "draining": "no"}
    if checks["database"] == "ok":
        checks["migrations"] = await probe_migrations()
    if draining.is_set():
        checks["draining"] = "yes"
    is_ready = checks == {"database": "ok", "migrations": "ok", "draining": "no"}
    return answer("ok" if is_ready else "unavailable", checks, ready=is_ready)


def answer(status: str, checks: dict[str, str], *, ready: bool) -> JsonResponse:
    response = JsonResponse({"status": status, "checks": checks}, status=200 if ready else 503)
    if not ready:
        response["Retry-After"] = "5"
    return response


async def probe_database() -> str:
    try:
        async with asyncio.timeout(DATABASE_PROBE_SECONDS):
            await sync_to_async(select_one)()
    except (DatabaseError, InterfaceError, TimeoutError) as error:
        logger.error("Health: the database cannot be reached (%s)", str(error).strip() or repr(error))
        return "unavailable"
    return "ok"


def select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


class Migrations:
    """Whether the database has all that this code was written for. Once it has, it keeps it: asked no more."""

    applied = False

    @classmethod
    def check(cls) -> bool:
        if not cls.applied:
            executor = MigrationExecutor(connection)
            cls.applied = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        return cls.applied


async def probe_migrations() -> str:
    try:
        return "ok" if await sync_to_async(Migrations.check)() else "missing"
    except (DatabaseError, InterfaceError):
        return "unknown"


async def maintenance_is_late() -> bool:
    """As the database has it, since the process that maintains may be another one; False where that does not answer."""
    try:
        async with asyncio.timeout(DATABASE_PROBE_SECONDS):
            return await sync_to_async(lambda: is_late(last_round(), now=timezone.now()))()
    except (DatabaseError, InterfaceError, TimeoutError) as error:
        logger.warning("Health: the last round of maintenance is not known (%s)", str(error).strip() or repr(error))
        return False


async def probe_channel_layer() -> str:
    layer = get_channel_layer()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await layer.group_send("health", {"type": "health.probe"})
    except Exception as error:  # whatever the layer raises, it is the layer that is away
        logger.warning("Health: the channel layer cannot be reached (%r)", error)
        return "unavailable"
    return "ok"
