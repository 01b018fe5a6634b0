"""Parts of OpenAPI schemas that several endpoints share."""

from typing import Any

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
