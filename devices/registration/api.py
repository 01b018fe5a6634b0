"""The endpoint that registers the devices of a table."""

import csv
import io
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import CallerPermission
from devices.api.json import refuse_body
from devices.api.openapi import COUNT, JSON, STRING, array, record
from devices.api.serializers import QuerySerializer
from devices.changes.log import author
from devices.models import Device
from devices.registration.registering import may_add, register_table
from devices.registration.table import COLUMNS, DEVICES_MAX, FAULTS_LISTED, InvalidTable, checked

CSV = "text/csv"
TABLE = {
    "type": "string",
    "description": f"CSV in UTF-8, separated by commas, semicolons or tabs. The first line names the columns: "
    f"{', '.join(COLUMNS)}; only `device_id` is needed. Several tags of a device are separated by commas or "
    f"semicolons in one quoted cell. At most {DEVICES_MAX:,} devices.",
}
KEYS = record({"devices": array(record({"device_id": STRING, "api_key": STRING}))})


class CSVParser(BaseParser):
    """Passes the bytes of the body on."""

    media_type = CSV

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        refuse_body((parser_context or {}).get("request"))
        return bytes(stream.read())


class InvalidTableError(ValidationError):
    """A 422 whose `errors` have the `line`, and as `field` the column, of each fault."""

    def __init__(self, error: InvalidTable) -> None:
        first = error.faults[0]
        super().__init__({first.column: ErrorDetail(str(first), code=first.code)})
        listed = [
            {"field": fault.column, "line": fault.line, "code": fault.code, "detail": str(fault)}
            for fault in error.faults[:FAULTS_LISTED]
        ]
        self.problem_members = {"errors": listed, "error_count": len(error.faults)}


class ImportOptions(QuerySerializer):
    check = serializers.ChoiceField(
        ["true", "false"], default="false", help_text="`true`: only check the table, and register nothing."
    )
    format = serializers.ChoiceField(["csv", "json"], default="csv", help_text="The format of the answer.")


class DeviceImportViewSet(GenericViewSet[Device]):
    permission_classes = [CallerPermission]
    parser_classes = [CSVParser]
    queryset = Device.objects.none()
    admin_permissions = {"create": "devices.add_device"}
    open_to: dict[str, tuple[Role, ...]] = {}

    @extend_schema(
        operation_id="device_import",
        summary="Register the devices of a table",
        parameters=[ImportOptions],
        request={CSV: TABLE},
        responses={
            (200, JSON): record({"devices": COUNT | {"description": "How many the table has."}}),
            (201, CSV): {"type": "string"},
            (201, JSON): KEYS,
        },
    )
    def create(self, request: Request) -> HttpResponse | Response:
        """Returns `device_id,api_key` of each device; keys are shown only once. A table with a fault registers none.

        422 lists the faults (the first 100) with `line`, and the column as `field`. 200 with `check=true`.
        """
        options = ImportOptions(data=request.query_params)
        options.is_valid(raise_exception=True)
        caller = caller_of(request)
        body: Any = request.data
        try:
            if options.validated_data["check"] == "true":
                return Response({"devices": len(checked(body or b"", caller, may_add_tags=may_add(caller)))})
            devices = register_table(body or b"", caller, by=author(caller), now=timezone.now())
        except InvalidTable as error:
            raise InvalidTableError(error) from error
        keys = [(device.device_id, key) for device, key in devices]
        if options.validated_data["format"] == "json":
            found = [{"device_id": device_id, "api_key": key} for device_id, key in keys]
            return Response({"devices": found}, status=status.HTTP_201_CREATED)
        return keys_as_csv(keys, status_code=status.HTTP_201_CREATED)


def keys_as_csv(keys: list[tuple[str, str]], *, status_code: int = status.HTTP_200_OK) -> HttpResponse:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("device_id", "api_key"), *keys])
    response = HttpResponse(text.getvalue(), content_type=f"{CSV}; charset=utf-8", status=status_code)
    response["Content-Disposition"] = 'attachment; filename="keys.csv"'
    response["Cache-Control"] = "private, no-store"
    return response
