"""OpenAPI of the endpoints that read a device's log, whose bodies are msgspec's: drf-spectacular cannot read them."""

from drf_spectacular.utils import extend_schema

from devices.api.openapi import COUNT, DATE_TIME, JSON, READING, STRING, Schema, array, nullable, record
from readings.history.parameters import AggregateQuery, HistoryQuery

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
