"""OpenAPI schemas of the ingest endpoints, written by hand because drf-spectacular cannot read msgspec structs."""

from drf_spectacular.utils import OpenApiExample, extend_schema

from devices.api.openapi import COUNT, DATE_TIME, JSON, SEQ, STRING, Schema, array, record
from devices.metrics import COLUMNS, EXTRA_METRICS_MAX, LARGEST_VALUE, TIME_NAMES, UNITS
from readings.ingest.answers import ROUNDED_LISTED
from readings.ingest.payloads import AGE_SECONDS_MAX, BATCH_READINGS_MAX, NOT_METRICS, NUMERIC

# Excludes the names that are no metrics, because JSON Schema applies patternProperties to declared properties too.
METRIC_PATTERN = rf"^(?!(?:{'|'.join(sorted(NOT_METRICS))})$)[a-z][a-z0-9_]{{0,62}}$"
NUMERIC_PATTERN = rf"^[ \t\r\n]*{NUMERIC.pattern}[ \t\r\n]*$".replace(r"\d", "[0-9]")
# Members of the answers that are only present if they are not empty.
NOTICES: Schema = {
    "ignored": array(STRING, description="Names of sent fields that were ignored: times and `seq`."),
    "hint": {"type": "string", "description": "How to send the time of a reading, if a sent time was ignored."},
    "rounded": array(
        STRING,
        maxItems=ROUNDED_LISTED,
        description="Metrics that were sent as integers beyond ±2^53 which no double represents; the nearest double is "
        f"stored. Of a batch, the first {ROUNDED_LISTED} names in alphabetical order.",
    ),
}

VALUE: Schema = {
    "description": f"A finite number up to ±{LARGEST_VALUE:g}, also as a string, which may have spaces around the "
    "number. null means absent.",
    "oneOf": [
        {"type": "number", "minimum": -LARGEST_VALUE, "maximum": LARGEST_VALUE},
        {"type": "string", "pattern": NUMERIC_PATTERN},
        {"type": "null"},
    ],
}

PAYLOAD: Schema = {
    "type": "object",
    "description": f"A flat object of metrics: at least one, and at most {EXTRA_METRICS_MAX} in addition to "
    f"{', '.join(COLUMNS)}. If a name occurs twice, the last value counts.",
    "properties": {
        "id": {
            "type": ["string", "null"],
            "format": "uuid",
            "description": "Makes a retry safe: a reading whose id its device has stored already is not stored again.",
        },
        "device_id": {
            "type": ["string", "null"],
            "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
            "description": "Required with a fleet key. With a device's own key it must be that device, or absent.",
        },
        "age_seconds": {
            "description": "Age of the reading in seconds, for readings that the device buffered.",
            "oneOf": [
                {"type": "number", "minimum": 0, "maximum": AGE_SECONDS_MAX},
                {"type": "string", "pattern": NUMERIC_PATTERN},
                {"type": "null"},
            ],
        },
        **{
            name: {"description": "Ignored, because the server's clock dates readings: send age_seconds."}
            for name in TIME_NAMES
        },
        "seq": {"description": "Ignored, because the server numbers readings."},
        **{name: VALUE | {"description": f"{UNITS[name]}. {VALUE['description']}"} for name in COLUMNS},
    },
    "patternProperties": {METRIC_PATTERN: VALUE},
    "additionalProperties": False,
}

ACCEPTED = record(
    {
        "id": {"type": "string", "format": "uuid"},
        "device_id": STRING,
        "seq": SEQ,
        "timestamp": DATE_TIME,
        **NOTICES,
    },
    optional=tuple(NOTICES),
)
DUPLICATE = record(
    ACCEPTED["properties"] | {"duplicate": {"type": "boolean", "const": True}},
    optional=tuple(NOTICES),
)

BATCH_RESULT = record(
    {
        "accepted": COUNT,
        "duplicates": COUNT,
        "rejected": array(record({"index": COUNT, "field": STRING, "code": STRING, "detail": STRING}), maxItems=100),
        "rejected_count": COUNT,
        "devices": array(record({"device_id": STRING, "first_seq": SEQ, "last_seq": SEQ})),
        "server_time": DATE_TIME,
        **NOTICES,
    },
    optional=tuple(NOTICES),
)
BATCH = {
    "oneOf": [
        array(PAYLOAD, minItems=1, maxItems=BATCH_READINGS_MAX),
        record({"readings": array(PAYLOAD, minItems=1, maxItems=BATCH_READINGS_MAX)}, additionalProperties=False),
    ]
}

EXAMPLE = {"temperature": 21.5, "humidity": 48, "rssi": -67}

ingest = extend_schema(
    operation_id="ingest",
    summary="Store one reading",
    description="Answers after the commit. The two ingest endpoints need a device's key or a fleet key.",
    request={JSON: PAYLOAD},
    responses={(201, JSON): ACCEPTED, (200, JSON): DUPLICATE},
    examples=[OpenApiExample("A reading", value=EXAMPLE, request_only=True)],
)
ingest_batch = extend_schema(
    operation_id="ingest_batch",
    summary="Store up to 10,000 readings",
    description="All valid readings are stored in one transaction; the others are listed in `rejected`.",
    request={JSON: BATCH},
    responses={(201, JSON): BATCH_RESULT, (207, JSON): BATCH_RESULT},
    examples=[OpenApiExample("Two readings", value=[EXAMPLE | {"age_seconds": 60}, EXAMPLE], request_only=True)],
)
