"""`GET /health`: can this process do its work?"""

import asyncio
import logging

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

logger = logging.getLogger(__name__)

PROBE_SECONDS = 2


@require_safe
async def health(request: HttpRequest) -> JsonResponse:
    """503 without the database; 200 "degraded" without the channel layer: ingest and history go on then."""
    checks = {"database": await probe_database(), "channel_layer": await probe_channel_layer()}
    status = "ok" if checks["channel_layer"] == "ok" else "degraded"
    if checks["database"] != "ok":
        status = "unavailable"
    response = JsonResponse({"status": status, "checks": checks}, status=503 if status == "unavailable" else 200)
    if status == "unavailable":
        response["Retry-After"] = "5"
    return response


async def probe_database() -> str:
    try:
        await sync_to_async(select_one)()
    except (DatabaseError, InterfaceError) as error:
        logger.error("Health: the database cannot be reached (%s)", str(error).strip())
        return "unavailable"
    return "ok"


def select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def probe_channel_layer() -> str:
    layer = get_channel_layer()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await layer.group_send("health", {"type": "health.probe"})
    except Exception as error:  # whatever the layer raises, it is the layer that is away
        logger.warning("Health: the channel layer cannot be reached (%r)", error)
        return "unavailable"
    return "ok"
