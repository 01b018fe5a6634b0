"""The endpoints that read a device's log: history, statistics and the latest values."""

from contextlib import nullcontext
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices.access.callers import Role
from devices.access.permissions import VIEW_READINGS
from devices.api.compression import Compressor, accepts_gzip
from devices.api.json import JSONRenderer, encoded_with
from devices.api.views import DeviceScope
from devices.metrics import COLUMNS
from devices.models import Device, DeviceState
from devices.times import rfc3339
from readings.history import openapi
from readings.history.csv_export import csv_lines, local_time
from readings.history.parameters import AggregateQuery, CursorField, HistoryQuery, parsed
from readings.log.entries import reading_document
from readings.models import Reading
from readings.querysets import ReadingQuerySet
from readings.statistics.aggregation import LARGE_ANSWER_VALUES, TooManyValues, aggregate, check_size
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
        readings = Reading.objects.filter(device=device).in_window(query.get("start"), query.get("end"))
        if "metrics" in query:
            readings = readings.with_any_of(query["metrics"])
        if query.get("format", "csv" if asks_for_csv(request) else "json") == "csv":
            return self.csv(device, readings, query)
        if query["time"] == "local":
            raise ValidationError({"time": ErrorDetail("Local times need format=csv.", code="needs_csv")})
        with large_answer() if query["limit"] > PAGE_ALONE_READINGS else nullcontext():
            return self.page(device, readings, query)

    def page(self, device: Device, readings: ReadingQuerySet, query: dict[str, Any]) -> HttpResponseBase:
        descending, limit = query["order"] == "desc", query["limit"]
        if "cursor" in query:
            readings = readings.beyond(*query["cursor"], descending=descending)
        found = list(readings.by_time(descending=descending)[: limit + 1])
        page = found[:limit]
        following = self.next_page(query, page[-1]) if len(found) > limit else None
        documents = (reading_document(reading, query.get("metrics")) for reading in page)
        answer = {
            "device_id": device.device_id,
            "start": None if "start" not in query else rfc3339(query["start"]),
            "end": None if "end" not in query else rfc3339(query["end"]),
            "order": query["order"],
        }
        if len(page) > LARGE_PAGE_READINGS:
            return json_response(encoded_with(answer | {"next": following}, "results", documents))
        return Response(answer | {"results": list(documents), "next": following})

    def next_page(self, query: dict[str, Any], last: Reading) -> str:
        """The URL of the page after `last`, with absolute times, so that all pages have the same window."""
        ends = {name: rfc3339(query[name]) for name in ("start", "end") if name in query}
        metrics = {"metrics": ",".join(query["metrics"])} if "metrics" in query else {}
        cursor = CursorField.encode(last.timestamp, last.seq)
        rest = {"order": query["order"], "limit": query["limit"], "cursor": cursor}
        return f"{self.request.build_absolute_uri(self.request.path)}?{urlencode(ends | metrics | rest)}"

    def csv(self, device: Device, readings: ReadingQuerySet, query: dict[str, Any]) -> StreamingHttpResponse:
        # All metrics of the device, because finding those of the window would take as long as its statistics.
        metrics = query.get("metrics") or [*COLUMNS, *sorted(device.state.latest_values().keys() - set(COLUMNS))]
        time_cell = partial(local_time, tz=query["tz"]) if query["time"] == "local" else rfc3339
        compressor = Compressor() if accepts_gzip(self.request.headers.get("Accept-Encoding", "")) else None
        lines = csv_lines(
            readings,
            metrics=metrics,
            descending=query["order"] == "desc",
            time_cell=time_cell,
            compressor=compressor,
        )
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        if compressor:
            response["Content-Encoding"] = "gzip"
        patch_vary_headers(response, ["Accept-Encoding"])
        response["Content-Disposition"] = f'attachment; filename="{device.device_id.replace(":", "-")}.csv"'
        return response

    @openapi.aggregate
    def aggregate(self, request: Request, device_id: str) -> HttpResponseBase:
        """Returns count, minimum, maximum, average and sum of each metric in a window, in total or by buckets."""
        device = self.get_object()
        state = device.state
        metric_count = len(state.latest_values())
        query = parsed(AggregateQuery, request.query_params, raw_from=state.raw_from, metric_count=metric_count)
        bucket, fill = query.get("bucket"), "fill" in query
        question = Question(query["start"], query["end"], query.get("metrics"), bucket)
        try:
            values = check_size(question, len(question.metrics or ()) or metric_count, fill=fill)
            with large_answer() if values > LARGE_ANSWER_VALUES else nullcontext(False) as large:
                return self.statistics(question, state, fill=fill, large=large)
        except TooManyValues as error:
            raise ValidationError({"bucket": ErrorDetail(str(error), code="too_many_values")}) from error

    def statistics(self, question: Question, state: DeviceState, *, fill: bool, large: bool) -> HttpResponseBase:
        found = aggregate(question, state, large=large)
        answer: dict[str, Any] = {
            "device_id": state.device_id,
            "start": rfc3339(question.start),
            "end": rfc3339(question.end),
        }
        if found.widened:
            answer["resolution"] = "1h"
        if question.bucket is None:
            return Response(answer | {"metrics": found.total(question)})
        answer["bucket"] = question.bucket.name
        answer["tz"] = question.bucket.tz.key
        buckets = found.buckets(question, fill=fill)
        if large:
            return json_response(encoded_with(answer, "buckets", buckets))
        return Response(answer | {"buckets": list(buckets)})

    @openapi.latest
    def latest(self, request: Request, device_id: str) -> Response:
        """Returns the reading with the newest time, and in `values` the newest value of each metric."""
        device = self.get_object()
        reading = device.state.latest_document()
        if reading is None:
            raise NotFound("The device has no readings yet.", code="no_readings")
        return Response({"device_id": device.device_id} | reading | {"values": device.state.values_document()})


def json_response(encoded: bytes) -> HttpResponse:
    return HttpResponse(encoded, content_type=JSONRenderer.media_type)


def asks_for_csv(request: Request) -> bool:
    return request.headers.get("Accept", "").split(",")[0].split(";")[0].strip() == "text/csv"
