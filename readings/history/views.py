"""The endpoints that read a device's log: history, statistics and the latest values."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlencode

from django.http.response import HttpResponseBase
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices.access.callers import Role
from devices.access.permissions import VIEW_READINGS
from devices.api.json import encoded_with
from devices.api.views import DeviceScope
from devices.models import Device
from devices.times import rfc3339
from readings.history import openapi
from readings.history.answers import Asked, json_response, resolution, streamed_csv, wants_csv, window_of
from readings.history.parameters import AggregateQuery, CursorField, HistoryQuery, parsed
from readings.log import reader
from readings.log.entries import StoredReading, reading_document
from readings.statistics.aggregation import Answer
from readings.statistics.large_answers import large_answer
from readings.statistics.statement import Question

# A page with more readings is encoded in pieces.
LARGE_PAGE_READINGS = 500
# A page that may have more readings counts as a large answer, of which a process makes one at a time.
PAGE_ALONE_READINGS = 2_000


class DeviceReadingsViewSet(DeviceScope):
    queryset = Device.objects.select_related("state")
    admin_permissions = dict.fromkeys(("history", "aggregate", "latest"), VIEW_READINGS)
    open_to = dict.fromkeys(("history", "aggregate", "latest"), (Role.DEVICE,))

    @openapi.history
    def history(self, request: Request, device_id: str) -> HttpResponseBase:
        """Returns a device's readings in a window, newest first by default, in pages; or all of them as CSV."""
        device = self.get_object()
        query = parsed(HistoryQuery, request.query_params)
        if wants_csv(request, query):
            return streamed_csv(request, [device], query)
        for name, usual in {"time": "utc", "shape": "wide", "headers": "names"}.items():
            if query[name] != usual:
                detail = ErrorDetail(f"{name}={query[name]} needs format=csv.", code="needs_csv")
                raise ValidationError({name: detail})
        with large_answer() if query["limit"] > PAGE_ALONE_READINGS else nullcontext():
            return self.page(window_of(device, query), query)

    def page(self, window: reader.Window, query: dict[str, Any]) -> HttpResponseBase:
        descending, limit = query["order"] == "desc", query["limit"]
        found = reader.page(window, limit=limit + 1, descending=descending, beyond=query.get("cursor"))
        page = found[:limit]
        following = self.next_page(query, page[-1]) if len(found) > limit else None
        documents = (reading_document(reading, query.get("metrics")) for reading in page)
        answer = {
            "device_id": window.device_id,
            "start": None if "start" not in query else rfc3339(query["start"]),
            "end": None if "end" not in query else rfc3339(query["end"]),
            "order": query["order"],
        }
        if len(page) > LARGE_PAGE_READINGS:
            return json_response(encoded_with(answer | {"next": following}, "results", documents))
        return Response(answer | {"results": list(documents), "next": following})

    def next_page(self, query: dict[str, Any], last: StoredReading) -> str:
        """The URL of the page after `last`, with absolute times, so that all pages have the same window."""
        ends = {name: rfc3339(query[name]) for name in ("start", "end") if name in query}
        metrics = {"metrics": ",".join(query["metrics"])} if "metrics" in query else {}
        cursor = CursorField.encode(last.timestamp, last.seq)
        rest = {"order": query["order"], "limit": query["limit"], "cursor": cursor}
        return f"{self.request.build_absolute_uri(self.request.path)}?{urlencode(ends | metrics | rest)}"

    @openapi.aggregate
    def aggregate(self, request: Request, device_id: str) -> HttpResponseBase:
        """Returns count, minimum, maximum, average and sum of each metric in a window, in total or by buckets."""
        device = self.get_object()
        asked, csv = asked_of([device], request, request.query_params)

        def document(answers: dict[str, Answer], large: bool) -> HttpResponseBase:
            if csv:
                return asked.csv(device.device_id, answers)
            return statistics(device.device_id, answers[device.device_id], asked, large=large)

        return asked.answered(document)

    @openapi.latest
    def latest(self, request: Request, device_id: str) -> Response:
        """Returns the reading with the newest time, and in `values` the newest value of each metric."""
        device = self.get_object()
        reading = device.state.latest_document()
        if reading is None:
            raise NotFound("The device has no readings yet.", code="no_readings")
        return Response({"device_id": device.device_id} | reading | {"values": device.state.values_document()})


def asked_of(devices: Sequence[Device], request: Request, parameters: Mapping[str, Any]) -> tuple[Asked, bool]:
    """The query of statistics of these devices, and whether it asks for CSV. Raises ValidationError."""
    states = [device.state for device in devices]
    raw_from = max((state.raw_from for state in states if state.raw_from is not None), default=None)
    count = sum(len(state.latest_values()) for state in states)
    query = parsed(AggregateQuery, parameters, raw_from=raw_from, metric_count=count, devices=len(devices))
    metrics = query.get("metrics")
    question = Question(query["start"], query["end"], metrics, query.get("bucket"))
    csv, local = wants_csv(request, query), query["time"] == "local"
    if local and not csv:
        raise ValidationError({"time": ErrorDetail("time=local needs format=csv.", code="needs_csv")})
    asked = Asked(
        question=question,
        states=states,
        metrics=len(metrics) * len(devices) if metrics else count,
        fill="fill" in query,
        local=query["tz"] if local else None,
    )
    return asked, csv


def statistics(device_id: str, answer: Answer, asked: Asked, *, large: bool) -> HttpResponseBase:
    document: dict[str, Any] = {"device_id": device_id} | asked.window() | resolution(answer)
    if asked.question.bucket is None:
        return Response(document | {"metrics": answer.total(asked.question)})
    document |= asked.bucket()
    if large:
        return json_response(encoded_with(document, "buckets", asked.buckets(answer)))
    return Response(document | {"buckets": list(asked.buckets(answer))})
