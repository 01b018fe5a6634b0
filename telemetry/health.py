"""Is this process alive, is it ready for requests, and can it do all its work? Three questions, asked by three."""

import asyncio
import logging
import threading
import time

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from devices.database.errors import Trouble, words_of
from devices.database.work import Work, working_at
from readings.upkeep.rounds import is_late, last_round
from telemetry.middleware import problems
from telemetry.models import HealthProbe

logger = logging.getLogger(__name__)

PROBE_SECONDS = 2
# Longer than a connection attempt or a statement of ingest may take (devices.database.work), in seconds.
DATABASE_PROBE_SECONDS = 5
# How long what was found out about the database is answered again, in seconds.
FRESH_SECONDS = 2.0

# Set once this process has been told to stop: what it has, it finishes; more, it shall not get.
draining = threading.Event()


@csrf_exempt  # any other method is a 405, whoever asks
@require_safe
async def health(request: HttpRequest) -> JsonResponse:
    """`/health`, for people and alerts: 503 where nothing can be stored; 200 "degraded" without the channel layer.

    200 "degraded" with `"maintenance": "late"` where no process has completed a round of maintenance for too long.
    """
    checks = {"database": await database_probe.look(), "channel_layer": await probe_channel_layer()}
    if checks["database"] == "ok" and database_probe.maintenance_is_late:
        checks["maintenance"] = "late"
    status = "ok" if checks["channel_layer"] == "ok" and "maintenance" not in checks else "degraded"
    if checks["database"] != "ok":
        status = "unavailable"
    return answer(status, checks, ready=status != "unavailable")


@csrf_exempt  # any other method is a 405, whoever asks
@require_safe
async def live(request: HttpRequest) -> JsonResponse:
    """`/health/live`, for whoever restarts the process: 200 as long as it answers at all. Asks nothing of anybody."""
    return JsonResponse({"status": "ok"})


@csrf_exempt  # any other method is a 405, whoever asks
@require_safe
async def ready(request: HttpRequest) -> JsonResponse:
    """`/health/ready`, for whoever sends it requests: 503 where nothing can be stored, unmigrated, or while draining.

    The channel layer does not count: without it all is stored, and a proxy that turned away from every process at
    once would make an outage of it.
    """
    checks = {"database": await database_probe.look(), "migrations": "unknown", "draining": "no"}
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


class DatabaseProbe:
    """What the last look at the database found.

    Anyone may ask for health as often as they like, so a process looks at most every FRESH_SECONDS, once at a time.
    """

    def __init__(self) -> None:
        self.answer = ""
        # Whoever maintains may be another process, so the database is asked.
        self.maintenance_is_late = False
        self.looked_at = 0.0
        self.looking = False

    async def look(self) -> str:
        """`ok`, or `unavailable`, `read_only`, `full`, `busy`, `timeout`, `failed`, `no_tables`."""
        if self.answer and (self.looking or time.monotonic() - self.looked_at < FRESH_SECONDS):
            return self.answer
        self.looking = True
        try:
            async with asyncio.timeout(DATABASE_PROBE_SECONDS):
                await sync_to_async(write_probe)()
                self.maintenance_is_late = await sync_to_async(is_maintenance_late)()
            self.answer = "ok"
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            self.answer = name_of(error)
            logger.error("Health: nothing can be stored in the database (%s: %s)", self.answer, words_of(error))
        finally:
            self.looking, self.looked_at = False, time.monotonic()
        return self.answer


database_probe = DatabaseProbe()


def name_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        code = Trouble.TIMEOUT.value
    else:
        unavailable = problems.as_unavailable(error)
        code = str(unavailable.detail.code) if unavailable else Trouble.FAILED.value
    return code.removeprefix("database_")


def is_maintenance_late() -> bool:
    """False where that cannot be found out."""
    try:
        with working_at(Work.INGEST):
            return is_late(last_round(), now=timezone.now())
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Health: the last round of maintenance is not known (%s)", words_of(error))
        return False
    finally:
        if not connection.in_atomic_block:
            connection.close()


def write_probe() -> None:
    """Writes where ingest writes, by a connection of ingest's."""
    with working_at(Work.INGEST):
        HealthProbe.objects.bulk_create(
            [HealthProbe(id=1, written_at=timezone.now())],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["written_at"],
        )
        if not connection.in_atomic_block:
            connection.close()


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


async def probe_channel_layer() -> str:
    layer = get_channel_layer()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await layer.group_send("health", {"type": "health.probe"})
    except Exception as error:  # whatever the layer raises, it is the layer that is away
        logger.warning("Health: the channel layer cannot be reached (%r)", error)
        return "unavailable"
    return "ok"
