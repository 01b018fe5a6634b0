"""Three health endpoints: whether the process is alive, whether it is ready, and whether everything works."""

import asyncio
import logging
import threading
import time

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from devices.database import nodes
from devices.database.distribution import NotDistributed, require_distribution
from devices.database.errors import Trouble, words_of
from devices.database.work_kinds import Work, working_at
from readings.alarms.delivery.rounds import is_late as is_delivery_late
from readings.upkeep.rounds import is_late, last_round
from realtime.announcing.layers import ServersLayer
from telemetry.middleware import problems
from telemetry.models import HealthProbe

logger = logging.getLogger(__name__)

PROBE_SECONDS = 2
# Seconds; longer than a connection attempt or a statement of ingest may take (devices.database.work_kinds).
DATABASE_PROBE_SECONDS = 5
# Seconds for which a result of the database probe is reused.
FRESH_SECONDS = 2.0

# Set when the process was told to stop: it finishes its requests, and its answers close their connections.
draining = threading.Event()
# Set when its port will close, so that a proxy should send no more requests. A worker that is replaced drains, but the
# other workers go on to serve on the port.
closing = threading.Event()


@csrf_exempt  # any other method is a 405, whoever asks
@require_safe
async def health(request: HttpRequest) -> JsonResponse:
    """`/health`, for people and alerts: 503 if no readings can be stored.

    200 "degraded" if the channel layer does not answer, or, with `"maintenance": "late"`, if no process has completed a
    round of maintenance for too long, or, with `"delivery": "late"`, if no process sends messages about alarms, or,
    with `"nodes": "unavailable"`, if this process refuses devices whose node of a distributed database does not answer.
    """
    checks = {"database": await database_probe.look(), "channel_layer": await probe_channel_layer()}
    if checks["database"] == "ok" and database_probe.maintenance_is_late:
        checks["maintenance"] = "late"
    if checks["database"] == "ok" and database_probe.delivery_is_late:
        checks["delivery"] = "late"
    if nodes.watch.away:
        checks["nodes"] = "unavailable"
    worse = checks.keys() & {"maintenance", "delivery", "nodes"}
    status = "ok" if checks["channel_layer"] == "ok" and not worse else "degraded"
    if checks["database"] != "ok":
        status = "unavailable"
    return answer(status, checks, ready=status != "unavailable")


@csrf_exempt  # any other method is a 405, whoever asks
@require_safe
async def live(request: HttpRequest) -> JsonResponse:
    """`/health/live`, for a process manager that restarts hung processes: 200 if it answers at all. Checks nothing."""
    return JsonResponse({"status": "ok"})


@csrf_exempt  # any other method is a 405, whoever asks
@require_safe
async def ready(request: HttpRequest) -> JsonResponse:
    """`/health/ready`, for load balancers: 503 if nothing can be stored, migrations are missing, or the port
    will close.

    Also 503 if DISTRIBUTED is true and a table is not where it belongs, because its statistics would be wrong.

    The channel layer is not checked: readings are stored without it, and if it failed, a load balancer would turn away
    from every process at once and so cause an outage.
    """
    checks = {"database": await database_probe.look(), "migrations": "unknown", "draining": "no"}
    if checks["database"] == "ok":
        checks["migrations"] = await probe_once(Migrations)
        if settings.DISTRIBUTED:
            checks["distribution"] = await probe_once(Distribution)
    if closing.is_set():
        checks["draining"] = "yes"
    is_ready = checks == {"database": "ok", "migrations": "ok", "draining": "no"} | checks.fromkeys(
        checks.keys() & {"distribution"}, "ok"
    )
    return answer("ok" if is_ready else "unavailable", checks, ready=is_ready)


def answer(status: str, checks: dict[str, str], *, ready: bool) -> JsonResponse:
    response = JsonResponse({"status": status, "checks": checks}, status=200 if ready else 503)
    if not ready:
        response["Retry-After"] = "5"
    return response


class DatabaseProbe:
    """The result of the last check of the database.

    Anyone may ask for health as often as they like, so a process checks once in FRESH_SECONDS, one check at a time.
    """

    def __init__(self) -> None:
        self.answer = ""
        # Maintenance and delivery may run in another process, so their state is read from the database.
        self.maintenance_is_late = False
        self.delivery_is_late = False
        self.looked_at = 0.0
        self.looking = False

    async def look(self) -> str:
        """`ok`, or `unavailable`, `read_only`, `full`, `busy`, `timeout`, `failed`, `no_tables`.

        Returns the last result if it is younger than FRESH_SECONDS, or while another check runs.
        """
        if self.answer and (self.looking or time.monotonic() - self.looked_at < FRESH_SECONDS):
            return self.answer
        self.looking = True
        try:
            async with asyncio.timeout(DATABASE_PROBE_SECONDS):
                await sync_to_async(write_probe)()
                self.maintenance_is_late, self.delivery_is_late = await sync_to_async(late)()
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


def late() -> tuple[bool, bool]:
    """Whether maintenance and the delivery of messages are late; False if the database does not say."""
    try:
        with working_at(Work.INGEST):
            now = timezone.now()
            return is_late(last_round(), now=now), is_delivery_late(now=now)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Health: the last rounds of maintenance and delivery cannot be read (%s)", words_of(error))
        return False, False
    finally:
        if not connection.in_atomic_block:
            connection.close()


def write_probe() -> None:
    """Writes one row, over a connection of the pool that ingest uses. Raises DatabaseError."""
    with working_at(Work.INGEST):
        HealthProbe.objects.bulk_create(
            [HealthProbe(id=1, written_at=timezone.now())],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["written_at"],
        )
        if not connection.in_atomic_block:
            connection.close()


class Once:
    """Something that stays as it is. Once `look` finds it, the result is kept and the database is not asked again."""

    found = False

    @classmethod
    def check(cls) -> bool:
        cls.found = cls.found or cls.look()
        return cls.found

    @classmethod
    def look(cls) -> bool:
        raise NotImplementedError


class Migrations(Once):
    """All migrations are applied."""

    @classmethod
    def look(cls) -> bool:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())


class Distribution(Once):
    """Every table is where it belongs in a distributed database."""

    @classmethod
    def look(cls) -> bool:
        try:
            require_distribution()
        except NotDistributed:
            return False
        return True


async def probe_once(what: type[Once]) -> str:
    try:
        return "ok" if await sync_to_async(what.check)() else "missing"
    except (DatabaseError, InterfaceError):
        return "unknown"


async def probe_channel_layer() -> str:
    """Also "unavailable" if one of several Redis servers does not answer: its groups are served from the database."""
    layer = get_channel_layer()
    if isinstance(layer, ServersLayer):
        away = await layer.probe(seconds=PROBE_SECONDS)
        for server, error in away.items():
            logger.warning("Health: server %s of REDIS_URL cannot be reached (%r)", server + 1, error)
        return "unavailable" if away else "ok"
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await layer.group_send("health", {"type": "health.probe"})
    except Exception as error:  # each layer raises exceptions of its own
        logger.warning("Health: the channel layer cannot be reached (%r)", error)
        return "unavailable"
    return "ok"
