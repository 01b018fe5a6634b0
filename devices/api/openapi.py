"""Parts of OpenAPI schemas that several endpoints use."""

from typing import Any

from devices.metrics import COLUMNS, UNITS
from devices.tags.names import NAME_CHARACTERS, TAG_PATTERN, Colour

Schema = dict[str, Any]

JSON = "application/json"

DATE_TIME: Schema = {"type": "string", "format": "date-time"}
SEQ: Schema = {
    "type": "integer",
    "minimum": 1,
    "description": "Position in the device's log: 1, 2, 3, … without holes.",
}
COUNT: Schema = {"type": "integer", "minimum": 0}
STRING: Schema = {"type": "string"}


def record(properties: Schema, *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def nullable(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


READING: Schema = {
    "type": "object",
    "description": "A reading as a flat object. Metrics that were not sent are left out.",
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
    "description": "The newest reading by time; null if there is none, or if the account may not view readings."
}
TAG_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS, "pattern": f"^{TAG_PATTERN}$"}
TAG: Schema = record(
    {
        "name": STRING,
        "colour": {"type": "string", "enum": Colour.values},
        "devices": COUNT | {"description": "The number of devices with the tag, inactive ones too."},
    }
)
