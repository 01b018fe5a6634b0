"""What every operation of the OpenAPI schema shares: keys, errors, device ids in paths."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from devices.validators import DEVICE_ID_PATTERN

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem document.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "For programs to tell errors apart."},
        "request_id": {"type": "string", "description": "Under which the server's log has the request."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("field", "code", "detail")},
                "required": ["field", "code", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}
ALWAYS = {
    "401": "No key, or one that is unknown, expired or revoked.",
    "403": "Known, but not allowed.",
    "503": "Database away.",
}
WITH_BODY = {
    "400": "Malformed JSON.",
    "413": "Body over the limit.",
    "415": "Media type or content encoding that is not taken.",
    "422": "Invalid values.",
}

HEALTH = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ok", "degraded", "unavailable"]},
        "checks": {
            "type": "object",
            "description": "What was checked, and how it is; `ok` where all is well.",
            "additionalProperties": {"type": "string"},
        },
    },
    "required": ["status", "checks"],
}
# A plain view, which drf-spectacular does not see.
HEALTH_PATH = "/api/v1/health"
HEALTH_OPERATION = {
    "operationId": "health",
    "summary": "Health of this process",
    "description": "200 `ok`; 200 `degraded` where all is stored but something else is away or late; 503 `unavailable` "
    "where nothing can be stored. Open to anyone. The same at `/health`.",
    "tags": ["health"],
    "security": [{}],
    "responses": {
        status: {"description": description, "content": {"application/json": {"schema": HEALTH}}}
        for status, description in (("200", "It works, if need be degraded."), ("503", "Nothing can be stored."))
    },
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "devices.access.authentication.KeyAuthentication"
    name = ["apiKey", "bearer"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return [{"type": "apiKey", "in": "header", "name": "X-API-Key"}, {"type": "http", "scheme": "bearer"}]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        # Either header will do.
        return [{"apiKey": []}, {"bearer": []}]


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "devices.access.authentication.StaffSessionAuthentication"
    name = "staffSession"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Adds to every operation the errors it can answer, and to every device id in a path its form."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for name, schema in result["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
    for path, operations in result["paths"].items():
        for operation in operations.values():
            parameters = operation.get("parameters", [])
            errors = ALWAYS | (WITH_BODY if "requestBody" in operation else {})
            if "{device_id}" in path or path.endswith("/tickets"):
                errors |= {"404": "No such device that the caller may see; or nothing to show."}
            if any(parameter["in"] == "query" for parameter in parameters):
                errors |= {"422": "Invalid parameters."}
            if "/ingest" in path:
                errors |= {"429": "The device posts more often than DEVICE_RATE_LIMIT allows; see Retry-After."}
            elif "/health" not in path:
                errors |= {"429": "The caller has QUESTIONS_PER_CALLER questions under way already; see Retry-After."}
            if path.endswith("/devices") and "requestBody" in operation:
                errors |= {"409": "A device with this id already exists."}
            if path.endswith("/rotate-key"):
                errors |= {"409": "An earlier key is still within its overlap, and `force` is not true."}
            for status, description in errors.items():
                operation["responses"].setdefault(status, {"description": description, "content": content})
            for parameter in parameters:
                if parameter["name"] == "device_id" and parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "pattern": f"^{DEVICE_ID_PATTERN}$"}
    result["paths"][HEALTH_PATH] = {"get": HEALTH_OPERATION}
    return result
