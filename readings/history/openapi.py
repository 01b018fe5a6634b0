"""OpenAPI of the endpoints that read a device's log, whose bodies are msgspec's: drf-spectacular cannot read them."""

from drf_spectacular.utils import extend_schema

from readings.history.parameters import AggregateQuery, HistoryQuery
from readings.metrics import COLUMNS, UNITS
from readings.openapi import COUNT, DATE_TIME, JSON, SEQ, STRING, Schema, array, nullable, record

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
