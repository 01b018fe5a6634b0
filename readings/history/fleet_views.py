"""The endpoints that read the logs of several devices: `/aggregate` and `/history`."""

from collections.abc import Iterator
from typing import Any

import msgspec
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import VIEW_READINGS
from devices.api.json import encoded_with
from devices.api.views import DeviceScope
from devices.models import Device
from readings.history import openapi
from readings.history.answers import Asked, json_response, resolution, streamed_csv
from readings.history.devices import named_devices
from readings.history.parameters import DevicesQuery, ExportQuery, parsed
from readings.history.views import asked_of
from readings.statistics.aggregation import Answer

REPEATED = ("device_id", "tag")


class FleetReadingsViewSet(DeviceScope):
    queryset = Device.objects.select_related("state")
    admin_permissions = dict.fromkeys(("history", "aggregate"), VIEW_READINGS)
    open_to: dict[str, tuple[Role, ...]] = {}

    def devices(self) -> tuple[list[Device], dict[str, Any]]:
        """The devices that the parameters name, as `named_devices`, and the other parameters.

        Raises ValidationError, and NotFound for the first unknown device.
        """
        parameters = self.request.query_params
        named = {name: parameters.getlist(name) for name in REPEATED if name in parameters}
        query = DevicesQuery(data=named)
        query.is_valid(raise_exception=True)
        rest = {name: value for name, value in parameters.items() if name not in REPEATED}
        return named_devices(self.get_queryset(), caller_of(self.request), **query.validated_data), rest

    @openapi.fleet_aggregate
    def aggregate(self, request: Request) -> HttpResponseBase:
        """Statistics of several devices in one window and in the same buckets, to compare them."""
        devices, parameters = self.devices()
        asked, csv = asked_of(devices, request, parameters)

        def document(answers: dict[str, Answer], large: bool) -> HttpResponseBase:
            if csv:
                return asked.csv("statistics", answers)
            head: dict[str, Any] = asked.window() | asked.bucket()
            if large:
                return json_response(encoded_with(head, "devices", encoded_devices(asked, answers)))
            return Response(head | {"devices": [device_document(asked, *answer) for answer in answers.items()]})

        return asked.answered(document)

    @openapi.fleet_history
    def history(self, request: Request) -> HttpResponseBase:
        """The readings of several devices in a window, streamed as CSV, one device after the other."""
        devices, parameters = self.devices()
        return streamed_csv(request, devices, parsed(ExportQuery, parameters))


def device_document(asked: Asked, device_id: str, answer: Answer) -> dict[str, Any]:
    head = {"device_id": device_id} | resolution(answer)
    if asked.question.bucket is None:
        return head | {"metrics": answer.total(asked.question)}
    return head | {"buckets": list(asked.buckets(answer))}


def encoded_devices(asked: Asked, answers: dict[str, Answer]) -> Iterator[msgspec.Raw]:
    """As `device_document`, encoded bucket by bucket, because one device may have all the values of a large answer."""
    for device_id, answer in answers.items():
        head: dict[str, Any] = {"device_id": device_id} | resolution(answer)
        if asked.question.bucket is None:
            yield msgspec.Raw(msgspec.json.encode(head | {"metrics": answer.total(asked.question)}))
        else:
            yield msgspec.Raw(encoded_with(head, "buckets", asked.buckets(answer)))
