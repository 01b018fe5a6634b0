"""Parts common to all operations of the OpenAPI schema: authentication, errors, device ids in paths, health."""

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
        "code": {"type": "string", "description": "A stable code by which programs recognise the error."},
        "request_id": {"type": "string", "description": "The id of the request in the server's log."},
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
    "401": "The key is missing, unknown, expired or revoked.",
    "403": "The caller is known but does not have the permission.",
    "503": "The database is unavailable or overloaded.",
}
WITH_BODY = {
    "400": "Malformed JSON.",
    "413": "The body is larger than the limit.",
    "415": "Unsupported media type or content encoding.",
    "422": "Invalid values.",
}

HEALTH = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ok", "degraded", "unavailable"]},
        "checks": {
            "type": "object",
            "description": "The result of each check; `ok` if it passed.",
            "additionalProperties": {"type": "string"},
        },
    },
    "required": ["status", "checks"],
}
# The health endpoint is not a DRF view, so drf-spectacular does not find it.
HEALTH_PATH = "/api/v1/health"
HEALTH_OPERATION = {
    "operationId": "health",
    "summary": "Health of this process",
    "description": "200 `ok`; 200 `degraded` if readings are stored but another part is unavailable or late; 503 "
    "`unavailable` if nothing can be stored. Needs no key. Also at `/health`.",
    "tags": ["health"],
    "security": [{}],
    "responses": {
        status: {"description": description, "content": {"application/json": {"schema": HEALTH}}}
        for status, description in (("200", "Readings can be stored."), ("503", "Nothing can be stored."))
    },
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "devices.access.authentication.KeyAuthentication"
    name = ["apiKey", "bearer"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return [{"type": "apiKey", "in": "header", "name": "X-API-Key"}, {"type": "http", "scheme": "bearer"}]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        # One of the two headers is enough.
        return [{"apiKey": []}, {"bearer": []}]


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "devices.access.authentication.StaffSessionAuthentication"
    name = "staffSession"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Adds the possible errors to every operation, and the pattern of device ids to every path."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for name, schema in result["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
    for path, operations in result["paths"].items():
        for operation in operations.values():
            if operation.pop("x-complete", False):
                continue
            parameters = operation.get("parameters", [])
            errors = ALWAYS | (WITH_BODY if "requestBody" in operation else {})
            if "{device_id}" in path or path.endswith("/tickets"):
                errors |= {"404": "No such device, or the caller may not see it, or it has no readings."}
            elif "doors" in operation["tags"]:
                errors |= {"404": "The setting DOORS does not name this protocol."}
            elif "{" in path:
                errors |= {"404": "There is none with this id."}
            if any(parameter["in"] == "query" for parameter in parameters):
                errors |= {"422": "Invalid parameters."}
            if "/ingest" in path or "doors" in operation["tags"]:
                operation["requestBody"]["required"] = True
                errors |= {"429": "The device posts more often than DEVICE_RATE_LIMIT allows; see Retry-After."}
            elif "/health" not in path:
                errors |= {"429": "The caller already has QUESTIONS_PER_CALLER requests running; see Retry-After."}
            if path.endswith("/devices") and "requestBody" in operation:
                errors |= {"409": "A device with this id already exists."}
            if operation["operationId"] in ("tag_create", "tag_change", "tag_delete"):
                errors |= {
                    "409": "There is a tag with this name, or an alarm rule, a token or an account uses the tag."
                }
            if operation["operationId"] == "token_create":
                errors |= {"409": "There is a token with this name."}
            if path.endswith("/views") and "requestBody" in operation:
                errors |= {"409": "There is a view with this name."}
            if path.endswith(("/v1/aggregate", "/v1/history")):
                errors |= {"404": "There is no device with one of these ids."}
            if path.endswith("/rotate-key"):
                errors |= {"409": "An earlier key is still within its overlap, and `force` is not true."}
            for status, description in errors.items():
                operation["responses"].setdefault(status, {"description": description, "content": content})
            for parameter in parameters:
                if parameter["name"] == "device_id" and parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "pattern": f"^{DEVICE_ID_PATTERN}$"}
    result["paths"][HEALTH_PATH] = {"get": HEALTH_OPERATION}
    return result
