"""What Schemathesis is told about the API beyond its schema; loaded by it, named in `test_schema_fuzzing`."""

from typing import Any

import schemathesis

# Why a request that the schema allows may be refused: values that only the server can make (a cursor), that are listed
# elsewhere (time zones), or whose fault lies between several of them, for which JSON Schema has no words.
OF_THE_SERVER = {"cursor", "tz"}
BEYOND_THE_SCHEMA = {
    "empty_window",  # end before start
    "invalid_bucket",  # too many of them in the window
    "too_many_metrics",  # 32 beside the three that have columns
    "no_metrics",  # all of them null
    "other_device",  # a key writes for its own
}
READ, CHANGED = "mote-1", "mote-2"


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Half of the time a device that there is: one to read, and one to change, so that the first keeps its key."""
    device_id = (path_parameters or {}).get("device_id")
    if isinstance(device_id, str) and len(device_id) % 2:
        there_is = READ if context.operation.method.upper() == "GET" else CHANGED
        return path_parameters | {"device_id": there_is}
    return path_parameters


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    if failure.code == "ST301":
        # "Deleted resource still available": DELETE deactivates a device, its log stays to be read.
        return False
    if failure.code == "ST202" and response.status_code == 422:
        return not all(is_beyond_the_schema(error, case) for error in response.json()["errors"])
    return True


def is_beyond_the_schema(error: dict[str, str], case: Any) -> bool:
    if error["field"] in OF_THE_SERVER or error["code"] in BEYOND_THE_SCHEMA:
        return True
    if error["code"] == "invalid_time":
        # A date of any year is a date to JSON Schema.
        return "outside 1970 to 9999" in error["detail"]
    # A number written as text has a pattern, but no bounds.
    return error["code"] == "out_of_range" and isinstance(value_at(case.body, error["field"]), str)


def value_at(body: Any, field: str) -> Any:
    """The value that `0.temperature` names in a batch, `temperature` in a reading."""
    for name in field.split("."):
        if isinstance(body, dict) and "readings" in body:
            body = body["readings"]
        try:
            body = body[int(name)] if isinstance(body, list) else body[name]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return body
