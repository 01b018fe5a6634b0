"""OpenAPI schemas of the doors. InfluxDB's operations list all their answers, because those have its documents."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

from devices.api.openapi import COUNT, JSON, STRING, Schema, array, record

F = TypeVar("F", bound=Callable[..., Any])

TAGS = ["doors"]
TEXT = "text/plain"
FORM = "application/x-www-form-urlencoded"
PROBLEM: Schema = {"$ref": "#/components/schemas/Problem"}
CLOSED = "The setting DOORS does not name this protocol."
# Tells `telemetry.openapi.hooks` to add no further answers.
COMPLETE = {"x-complete": True}

LINES: Schema = {
    "type": "string",
    "description": "Line protocol: `measurement,tag=value field=1,other=2 time`, one line each, at most 10,000.",
}
V1_ERROR: Schema = record({"error": STRING})
V2_ERROR: Schema = record(
    {"code": STRING, "message": STRING, "line": COUNT | {"description": "The first line that is not stored."}},
    optional=("line",),
)
ERRORS = ("400", "401", "403", "404", "413", "415", "429", "503")
PRECISION = "The unit of the times."
DESCRIPTION = (
    "The key is the header `X-API-Key`, or `Authorization` with `Token`, `Bearer` or `Basic` (as the password). With a "
    "device's own key all lines are of that device; with a fleet key a tag names the device (INFLUX_DEVICE_TAGS). Good "
    "lines are stored even where others are bad; then the answer is 400 and names the bad ones."
)


def text(name: str, description: str = "Ignored.", **more: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, description=description, **more)  # type: ignore[arg-type]


def influx_errors(schema: Schema) -> dict[tuple[str, str], Schema]:
    return {(status, JSON): schema for status in ERRORS}


influx_write = extend_schema(
    operation_id="influx_write",
    summary="Store lines, as InfluxDB 2 does",
    description=DESCRIPTION,
    tags=TAGS,
    parameters=[
        text("org"),
        text("bucket"),
        OpenApiParameter("precision", str, enum=["ns", "us", "ms", "s"], description=PRECISION),
    ],
    request={TEXT: LINES},
    responses={"204": None, **influx_errors(V2_ERROR)},
    examples=[
        OpenApiExample(
            "Lines", value="weather,host=roof temperature=21.5,rssi=-67i", media_type=TEXT, request_only=True
        )
    ],
    extensions=COMPLETE,
)
influx_write_v1 = extend_schema(
    operation_id="influx_write_v1",
    summary="Store lines, as InfluxDB 1 does",
    description=f"{DESCRIPTION} A key in the address (`p`) counts only if DOORS names `influx-query-keys`.",
    tags=TAGS,
    parameters=[
        text("db"),
        text("rp"),
        text("consistency"),
        text("u"),
        text("p", "The key, where a setting allows it."),
        OpenApiParameter("precision", str, enum=["n", "ns", "u", "us", "ms", "s", "m", "h"], description=PRECISION),
    ],
    request={TEXT: LINES},
    responses={"204": None, **influx_errors(V1_ERROR)},
    examples=[
        OpenApiExample(
            "Lines", value="weather,host=roof temperature=21.5,rssi=-67i", media_type=TEXT, request_only=True
        )
    ],
    extensions=COMPLETE,
)
influx_query = extend_schema(
    operation_id="influx_query",
    summary="CREATE DATABASE, as InfluxDB 1 answers it",
    description="Other statements are a 400: this server answers no InfluxQL.",
    tags=TAGS,
    parameters=[text("q", "The statement, unless it is in the body."), text("db"), text("u"), text("p")],
    request={FORM: {"type": "object", "properties": {"q": STRING}}},
    responses={
        ("200", JSON): record({"results": array(record({"statement_id": COUNT}))}),
        **influx_errors(V1_ERROR),
    },
    extensions=COMPLETE,
)
influx_ping = extend_schema(
    operation_id="influx_ping",
    summary="InfluxDB's ping",
    description="Needs no key.",
    tags=TAGS,
    auth=[{}],  # type: ignore[list-item]
    parameters=[text("verbose", "Anything but `0` and `false`: answer 200 with the version.")],
    responses={
        "204": None,
        ("200", JSON): record({"version": STRING}),
        ("400", JSON): V1_ERROR,
        ("404", JSON): V1_ERROR,
    },
    extensions=COMPLETE,
)

TELEMETRY: Schema = {
    "description": "Values by name; or `ts` (milliseconds since 1970) and `values`; or an array of these.",
    "oneOf": [{"type": "object"}, array({"type": "object"}, maxItems=10_000)],
}
thingsboard = extend_schema(
    operation_id="thingsboard_telemetry",
    summary="Store values, as ThingsBoard does",
    description="The key of the device is in the address, so this is open only if DOORS names `thingsboard`. The body "
    "is JSON whatever its media type. Values that are no numbers are skipped.",
    tags=TAGS,
    auth=[{}],  # type: ignore[list-item]
    request={JSON: TELEMETRY},
    responses={"200": None},
)
thingsboard_attributes = extend_schema(
    operation_id="thingsboard_attributes",
    summary="Accept attributes, as ThingsBoard does",
    description="Clients of ThingsBoard send attributes, such as a firmware's version. They are not stored.",
    tags=TAGS,
    auth=[{}],  # type: ignore[list-item]
    request={JSON: {"type": "object"}},
    responses={"200": None},
)
EVENT_RESULT: Schema = record(
    {"stored": COUNT, "refused": record({"field": STRING, "code": STRING, "detail": STRING})}, optional=("refused",)
)


def lorawan(server: str, operation_id: str) -> Callable[[F], F]:
    decorate: Callable[[F], F] = extend_schema(
        operation_id=operation_id,
        summary=f"Store an uplink that {server} sends",
        description="The device is the one whose id is the DevEUI, in upper or lower case. The values are those of the "
        "decoded payload, with `rssi` and `snr` of the best gateway. Other events, and those of devices that are not "
        "registered, are answered 200 with `stored` 0.",
        tags=TAGS,
        request={JSON: {"type": "object"}},
        responses={("200", JSON): EVENT_RESULT},
    )
    return decorate


ttn = lorawan("The Things Stack", "lorawan_ttn")
chirpstack = lorawan("ChirpStack", "lorawan_chirpstack")
