"""The OpenAPI descriptions of the endpoints whose bodies are msgspec's, which drf-spectacular cannot read."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema

from readings.metrics import COLUMNS, EXTRA_METRICS_MAX, LARGEST_VALUE, UNITS
from readings.payloads import AGE_SECONDS_MAX, BATCH_READINGS_MAX, NUMERIC
from readings.queries import AggregateQuery, HistoryQuery

Schema = dict[str, Any]

# Not the reserved names: JSON Schema applies a pattern to declared properties too.
METRIC_PATTERN = r"^(?!(?:id|device_id|seq|timestamp|age_seconds)$)[a-z][a-z0-9_]{0,62}$"
NUMERIC_PATTERN = f"^{NUMERIC.pattern}$".replace(r"\d", "[0-9]")

DATE_TIME: Schema = {"type": "string", "format": "date-time"}
SEQ: Schema = {
    "type": "integer",
    "minimum": 1,
    "description": "Position in the device's log: 1, 2, 3, … without holes.",
}
COUNT: Schema = {"type": "integer", "minimum": 0}
STRING: Schema = {"type": "string"}
IGNORED: Schema = {"type": "array", "items": STRING, "description": "What was sent but is the server's to say."}


def record(properties: Schema, *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def nullable(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


VALUE: Schema = {
    "description": f"A finite number up to ±{LARGEST_VALUE:g}, also as a string; null is absent.",
    "oneOf": [
        {"type": "number", "minimum": -LARGEST_VALUE, "maximum": LARGEST_VALUE},
        {"type": "string", "pattern": NUMERIC_PATTERN},
        {"type": "null"},
    ],
}

PAYLOAD: Schema = {
    "type": "object",
    "description": f"A flat object of metrics; at least one, at most {EXTRA_METRICS_MAX} beside {', '.join(COLUMNS)}. "
    "Of a name that stands twice the last value counts.",
    "properties": {
        "id": {
            "type": ["string", "null"],
            "format": "uuid",
            "description": "Makes a retry safe: a reading whose id is stored already is not stored again.",
        },
        "device_id": {
            "type": ["string", "null"],
            "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
            "description": "Required with a fleet key; with a device's own key that device, or absent.",
        },
        "age_seconds": {
            "description": "How long ago it was measured, for readings that were buffered.",
            "oneOf": [
                {"type": "number", "minimum": 0, "maximum": AGE_SECONDS_MAX},
                {"type": "string", "pattern": NUMERIC_PATTERN},
                {"type": "null"},
            ],
        },
        "timestamp": {"description": "Ignored: the server's clock dates readings."},
        "seq": {"description": "Ignored: the server numbers readings."},
        **{name: VALUE | {"description": f"{UNITS[name]}. {VALUE['description']}"} for name in COLUMNS},
    },
    "patternProperties": {METRIC_PATTERN: VALUE},
    "additionalProperties": False,
}

READING: Schema = {
    "type": "object",
    "description": "A reading, flat as it was sent: a metric that was absent is absent.",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "seq": SEQ,
        "timestamp": DATE_TIME,
        **{name: {"type": "number", "description": UNITS[name]} for name in COLUMNS},
    },
    "required": ["id", "seq", "timestamp"],
    "additionalProperties": {"type": "number"},
}
LATEST: Schema = nullable(READING) | {
    "description": "The newest reading by time; null where there is none, or the account may not view readings."
}
LATEST_VALUES: Schema = {
    "type": "object",
    "description": "Of each metric that the device has its newest value by time, with the reading that has it. `seq` "
    "is null where the reading is no longer kept and only the average of its hour is known.",
    "additionalProperties": record(
        {"value": {"type": "number"}, "timestamp": DATE_TIME, "seq": {"type": ["integer", "null"], "minimum": 1}}
    ),
}

ACCEPTED = record(
    {
        "id": {"type": "string", "format": "uuid"},
        "device_id": STRING,
        "seq": SEQ,
        "timestamp": DATE_TIME,
        "ignored": IGNORED,
    },
    optional=("ignored",),
)
DUPLICATE = record(
    ACCEPTED["properties"] | {"duplicate": {"type": "boolean", "const": True}},
    optional=("ignored",),
)

BATCH_RESULT = record(
    {
        "accepted": COUNT,
        "duplicates": COUNT,
        "rejected": array(record({"index": COUNT, "field": STRING, "code": STRING, "detail": STRING}), maxItems=100),
        "rejected_count": COUNT,
        "devices": array(record({"device_id": STRING, "first_seq": SEQ, "last_seq": SEQ})),
        "server_time": DATE_TIME,
        "ignored": IGNORED,
    },
    optional=("ignored",),
)
BATCH = {
    "oneOf": [
        array(PAYLOAD, minItems=1, maxItems=BATCH_READINGS_MAX),
        record({"readings": array(PAYLOAD, minItems=1, maxItems=BATCH_READINGS_MAX)}, additionalProperties=False),
    ]
}

HISTORY = record(
    {
        "device_id": STRING,
        "start": nullable(DATE_TIME),
        "end": nullable(DATE_TIME),
        "order": {"type": "string", "enum": ["desc", "asc"]},
        "results": array(READING),
        "next": {"type": ["string", "null"], "description": "The address of the next page."},
    }
)

NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
STATISTICS = record(
    {"count": COUNT, "min": NUMBER_OR_NULL, "max": NUMBER_OR_NULL, "avg": NUMBER_OR_NULL, "sum": {"type": "number"}}
)
METRICS: Schema = {"type": "object", "additionalProperties": STATISTICS}
AGGREGATE = record(
    {
        "device_id": STRING,
        "start": DATE_TIME,
        "end": DATE_TIME,
        "resolution": {
            "type": "string",
            "const": "1h",
            "description": "Said where readings of the window are no longer kept, and its edges or its buckets' are no "
            "whole hours: what lies before the readings that are kept was taken by whole hours.",
        },
        "metrics": METRICS,
        "bucket": STRING,
        "tz": STRING,
        "buckets": array(record({"start": DATE_TIME, "metrics": METRICS})),
    },
    optional=("resolution", "metrics", "bucket", "tz", "buckets"),
)

JSON = "application/json"
EXAMPLE = {"temperature": 21.5, "humidity": 48, "rssi": -67}

ingest = extend_schema(
    operation_id="ingest",
    summary="Store one reading",
    description="Answers after the reading is committed. Only the two ingest endpoints need a device's or a fleet key.",
    request={JSON: PAYLOAD},
    responses={(201, JSON): ACCEPTED, (200, JSON): DUPLICATE},
    examples=[OpenApiExample("A reading", value=EXAMPLE, request_only=True)],
)
ingest_batch = extend_schema(
    operation_id="ingest_batch",
    summary="Store up to 10,000 readings",
    description="All that is valid is stored, in one transaction; what is not is named in `rejected`.",
    request={JSON: BATCH},
    responses={(201, JSON): BATCH_RESULT, (207, JSON): BATCH_RESULT},
    examples=[OpenApiExample("Two readings", value=[EXAMPLE | {"age_seconds": 60}, EXAMPLE], request_only=True)],
)
history = extend_schema(
    operation_id="device_history",
    summary="Read the log by time",
    parameters=[HistoryQuery],
    responses={(200, JSON): HISTORY, (200, "text/csv"): {"type": "string"}},
)
aggregate = extend_schema(
    operation_id="device_aggregate",
    summary="Statistics of a window",
    parameters=[AggregateQuery],
    responses={(200, JSON): AGGREGATE},
)
latest = extend_schema(
    operation_id="device_latest",
    summary="The latest reading",
    responses={
        (200, JSON): READING
        | {
            "properties": {"device_id": STRING} | READING["properties"] | {"values": LATEST_VALUES},
            "required": ["device_id", *READING["required"], "values"],
        }
    },
)
