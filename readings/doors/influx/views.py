"""InfluxDB's calls to write: `/api/v2/write`, `/write`, `/ping` and `/query` for CREATE DATABASE."""

import re
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from devices import cpu_pool
from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.api.json_decoding import body_refusal
from readings.doors import openapi
from readings.doors.influx import answers
from readings.doors.influx.answers import PartialWrite, rejected_of
from readings.doors.influx.joining import LINES, join_lines
from readings.doors.switches import INFLUX_QUERY_KEYS, Door, is_open
from readings.doors.views import DoorViewSet
from readings.ingest.decoding import Posted
from readings.ingest.posting import own_device_id
from readings.log.entries import NewReading

# Nanoseconds of each `precision`, by version.
UNITS_NS = {
    1: {
        "": 1,
        "n": 1,
        "ns": 1,
        "u": 1_000,
        "us": 1_000,
        "µ": 1_000,
        "ms": 1_000_000,
        "s": 1_000_000_000,
        "m": 60_000_000_000,
        "h": 3_600_000_000_000,
    },
    2: {"": 1, "ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000},
}
PARAMETERS_MAX = 20
# Larger results are put together in the thread of `devices.cpu_pool`.
LIGHT_READINGS_MAX = 2_000
CREATE_DATABASE = re.compile(r"\s*CREATE\s+DATABASE\b", re.IGNORECASE)
NO_QUERIES = (
    "error parsing query: this server stores lines but answers no queries, except that CREATE DATABASE succeeds. "
    "Readings are queried at /api/v1/devices/{device_id}/history."
)
NO_KEY = (
    "unauthorized access: send the device's key, or a fleet key, as the header Authorization: Token, Bearer or Basic "
    "(as the password)."
)


class InfluxViewSet(DoorViewSet):
    """The answers are InfluxDB's; `version` (1 or 2) decides about the words of errors."""

    door = Door.INFLUX
    open_to = {"write": (Role.DEVICE, Role.FLEET), "query": (Role.DEVICE, Role.FLEET)}
    version = 2

    def key_of(self, request: Request) -> str | None:
        key = super().key_of(request)
        if key is None and is_open(INFLUX_QUERY_KEYS):
            return self.parameter("p") or None
        return key

    def parameter(self, name: str) -> str:
        """A parameter of the query; empty if it is missing. Raises ParseError."""
        try:
            found: dict[str, list[str]] = parse_qs(
                self.request.META.get("QUERY_STRING", ""), max_num_fields=PARAMETERS_MAX
            )
        except ValueError as error:
            raise ParseError("The query has too many parameters.", code="invalid_query") from error
        return found.get(name, [""])[-1]

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        response = await super().dispatch(request, *args, **kwargs)
        if not isinstance(response, Response):
            return response
        message = NO_KEY if response.data["code"] == "not_authenticated" else response.data["detail"]
        refused = answers.refusal(
            message, status=response.status_code, version=self.version, line=response.data.get("line")
        )
        for name in answers.KEPT:
            if name in response:
                refused[name] = response[name]
        return refused

    @openapi.influx_write
    async def write(self, request: Request) -> HttpResponse:
        precision = self.parameter("precision")
        units = UNITS_NS[self.version]
        if precision not in units:
            valid = ", ".join(unit for unit in units if unit)
            raise ParseError(f"invalid precision; valid precision units are {valid}", code="invalid_precision")
        body = await self.way.body()
        received_at = timezone.now()
        about: dict[str, Any] = {
            "unit_ns": units[precision],
            "device_id": own_device_id(caller_of(request)),
            "device_tags": settings.INFLUX_DEVICE_TAGS,
            "received_at": received_at,
        }
        posted = await body.decoded(partial(join_lines, **about), caller=self.caller_name(), form=LINES)
        self.posted = posted
        readings = [outcome for outcome in posted.outcomes if isinstance(outcome, NewReading)]
        recorded = await self.record(readings, received_at=received_at)
        self.count(recorded, refused=len(posted.outcomes) - len(readings))
        heavy = len(posted.outcomes) > LIGHT_READINGS_MAX
        rejected_in = partial(rejected_of, posted, recorded)
        rejected = await cpu_pool.run(self.caller_name(), rejected_in) if heavy else rejected_in()
        if posted.skipped:
            await self.note_skipped(posted.skipped, status=400 if rejected else 204)
        if rejected:
            raise PartialWrite(rejected, posted.quoted)
        return answers.empty()

    @openapi.influx_query
    async def query(self, request: Request) -> HttpResponse:
        """Succeeds for CREATE DATABASE, which clients send before they write; other statements are an error."""
        statement = self.parameter("q")
        if not statement:
            body = await self.way.body()
            form = await body.decoded(decode_form, caller=self.caller_name())
            statement = form.statement
        if not CREATE_DATABASE.match(statement):
            raise ParseError(NO_QUERIES, code="no_queries")
        return answers.document({"results": [{"statement_id": 0}]}, status=200)


class InfluxV1ViewSet(InfluxViewSet):
    """`/write` and `/query`, the calls of InfluxDB 1."""

    version = 1

    @openapi.influx_write_v1
    async def write(self, request: Request) -> HttpResponse:
        return await super().write(request)


class PingViewSet(InfluxV1ViewSet):
    """`/ping` needs no key, because clients ask it before they send one."""

    permission_classes: list[Any] = []
    throttle_classes: list[Any] = []

    def key_of(self, request: Request) -> str | None:
        return None

    @openapi.influx_ping
    async def ping(self, request: Request) -> HttpResponse:
        if self.parameter("verbose") in ("", "0", "false"):
            return answers.empty()
        return answers.document({"version": answers.VERSION}, status=200)


class Form(Posted):
    statement: str = ""


def decode_form(body: bytes, refused: str) -> Form:
    """The statement in a form. Raises the errors of `body_refusal`, and ParseError."""
    if refused:
        raise body_refusal(refused)
    try:
        found = parse_qs(body.decode(errors="replace"), max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        raise ParseError("The form has too many parameters.", code="invalid_query") from error
    return Form(statement=found.get("q", [""])[-1])
