"""OpenAPI schemas of the history endpoints, written by hand because drf-spectacular cannot read msgspec structs."""

from drf_spectacular.utils import extend_schema

from devices.api.openapi import COUNT, DATE_TIME, JSON, READING, STRING, Schema, array, nullable, record
from readings.history.parameters import AggregateQuery, DevicesQuery, ExportQuery, HistoryQuery

LATEST_VALUES: Schema = {
    "type": "object",
    "description": "The newest value by time of each metric of the device, with the time and `seq` of its reading. "
    "`seq` is null if the reading was deleted and only the average of its hour is known.",
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
        "next": {"type": ["string", "null"], "description": "The URL of the next page; null on the last page."},
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
            "description": "Present if readings of the window have been deleted, and an edge of the window or of a "
            "bucket in that time is not a whole hour. The statistics of that time then cover whole hours.",
        },
        "metrics": METRICS,
        "bucket": STRING,
        "tz": STRING,
        "buckets": array(record({"start": DATE_TIME, "metrics": METRICS})),
    },
    optional=("resolution", "metrics", "bucket", "tz", "buckets"),
)

DEVICE_STATISTICS = record(
    {
        "device_id": STRING,
        "resolution": AGGREGATE["properties"]["resolution"],
        "metrics": METRICS,
        "buckets": AGGREGATE["properties"]["buckets"],
    },
    optional=("resolution", "metrics", "buckets"),
)
FLEET_AGGREGATE = record(
    {"start": DATE_TIME, "end": DATE_TIME, "bucket": STRING, "tz": STRING, "devices": array(DEVICE_STATISTICS)},
    optional=("bucket", "tz"),
)

fleet_aggregate = extend_schema(
    operation_id="aggregate",
    summary="Statistics of several devices",
    parameters=[DevicesQuery, AggregateQuery],
    responses={(200, JSON): FLEET_AGGREGATE, (200, "text/csv"): {"type": "string"}},
)
fleet_history = extend_schema(
    operation_id="history",
    summary="Export the logs of several devices",
    parameters=[DevicesQuery, ExportQuery],
    responses={(200, "text/csv"): {"type": "string"}},
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
    responses={(200, JSON): AGGREGATE, (200, "text/csv"): {"type": "string"}},
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
