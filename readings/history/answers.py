"""Answers of the endpoints as JSON and CSV: statistics of one or more devices, and streamed logs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

import msgspec
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request

from devices.api.compression import Compressor, accepts_gzip
from devices.api.json import JSONRenderer
from devices.cpu_pool import Pauses
from devices.metrics import COLUMNS
from devices.models import Device, DeviceState
from devices.times import rfc3339
from readings.history.csv_export import Layout, csv_lines, local_time
from readings.log.reader import Window
from readings.models import Metric
from readings.statistics.aggregation import (
    LARGE_ANSWER_VALUES,
    Answer,
    BucketStatistics,
    TooManyValues,
    aggregate_each,
    check_size,
)
from readings.statistics.large_answers import large_answer
from readings.statistics.statement import Question

CSV = "text/csv; charset=utf-8"
STATISTICS_HEADER = "device_id,start,metric,count,min,max,avg,sum\r\n"
# In the wide layout of several devices. A line of one device has at most a column for each of its metrics.
WIDE_METRICS_MAX = 250


def wants_csv(request: Request, query: dict[str, Any]) -> bool:
    accepted = request.headers.get("Accept", "").split(",")[0].split(";")[0].strip()
    return bool(query.get("format", "csv" if accepted == "text/csv" else "json") == "csv")


def attachment(response: HttpResponseBase, name: str) -> HttpResponseBase:
    response["Content-Disposition"] = f'attachment; filename="{name.replace(":", "-")}.csv"'
    return response


def json_response(encoded: bytes) -> HttpResponse:
    return HttpResponse(encoded, content_type=JSONRenderer.media_type)


def window_of(device: Device, query: dict[str, Any]) -> Window:
    """The readings of a device that the parameters ask for."""
    return Window(device.device_id, query.get("start"), query.get("end"), query.get("metrics"))


def streamed_csv(request: Request, devices: Sequence[Device], query: dict[str, Any]) -> HttpResponseBase:
    """The logs of the devices, one after the other, streamed. `query`: the parameters of `history`."""
    metrics = query.get("metrics") or metrics_of(devices)
    long = query["shape"] == "long"
    if not long and len(devices) > 1 and len(metrics) > WIDE_METRICS_MAX:
        detail = (
            f"The devices have {len(metrics)} different metrics; a wide table has at most {WIDE_METRICS_MAX} (the "
            "constant WIDE_METRICS_MAX). Name metrics (metrics=…), or use shape=long."
        )
        raise ValidationError({"shape": ErrorDetail(detail, code="too_many_columns")})
    layout = Layout(
        metrics=metrics,
        time_cell=partial(local_time, tz=query["tz"]) if query["time"] == "local" else rfc3339,
        long=long,
        catalogue=Metric.objects.catalogue() if query["headers"] == "labels" else None,
    )
    compressor = Compressor() if accepts_gzip(request.headers.get("Accept-Encoding", "")) else None
    logs = [window_of(device, query) for device in devices]
    lines = csv_lines(logs, layout, descending=query["order"] == "desc", compressor=compressor)
    response = StreamingHttpResponse(lines, content_type=CSV)
    if compressor:
        response["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ["Accept-Encoding"])
    return attachment(response, devices[0].device_id if len(devices) == 1 else "readings")


def metrics_of(devices: Iterable[Device]) -> list[str]:
    """All metrics of the devices, because finding those of the window would take as long as its statistics."""
    names = {name for device in devices for name in device.state.latest_values()}
    return [*COLUMNS, *sorted(names - set(COLUMNS))]


class Asked(msgspec.Struct, frozen=True):
    """A query of statistics of devices.

    `metrics`: how many the answer may have, of all devices together. `local`: the time zone of the times in CSV; None:
    they are in UTC, as in JSON.
    """

    question: Question
    states: Sequence[DeviceState]
    metrics: int
    fill: bool
    local: tzinfo | None = None

    def answered(self, render: Callable[[dict[str, Answer], bool], HttpResponseBase]) -> HttpResponseBase:
        """`render` makes the response of the answers by device id; its second argument says whether they are large.

        Raises ValidationError if they have too many values, NotFound if a device was erased meanwhile.
        """
        try:
            values = check_size(self.question, self.metrics, fill=self.fill, devices=len(self.states))
            with large_answer() if values > LARGE_ANSWER_VALUES else nullcontext(False) as large:
                return render(aggregate_each(self.question, self.states, large=large), large)
        except TooManyValues as error:
            raise ValidationError({"bucket": ErrorDetail(str(error), code="too_many_values")}) from error
        except DeviceState.DoesNotExist as error:
            raise NotFound from error

    def window(self) -> dict[str, str]:
        return {"start": rfc3339(self.question.start), "end": rfc3339(self.question.end)}

    def bucket(self) -> dict[str, str]:
        bucket = self.question.bucket
        return {} if bucket is None else {"bucket": bucket.name, "tz": bucket.tz.key}

    def buckets(self, answer: Answer) -> Iterator[BucketStatistics]:
        """Without a bucket, the whole window as one."""
        if self.question.bucket is None:
            return iter([BucketStatistics(rfc3339(self.question.start), answer.total(self.question))])
        return answer.buckets(self.question, fill=self.fill)

    def csv(self, name: str, answers: dict[str, Answer]) -> HttpResponseBase:
        """A line for each device, bucket and metric, in this order."""
        pauses = Pauses()
        encoded = bytearray(STATISTICS_HEADER.encode())
        for state in self.states:
            for bucket in self.buckets(answers[state.device_id]):
                encoded += csv_of(state.device_id, bucket, self.local).encode()
                pauses.pause()
        return attachment(HttpResponse(bytes(encoded), content_type=CSV), name)


def resolution(answer: Answer) -> dict[str, str]:
    return {"resolution": "1h"} if answer.widened else {}


def csv_of(device_id: str, bucket: BucketStatistics, local: tzinfo | None) -> str:
    lines = []
    start = bucket.start if local is None else local_time(datetime.fromisoformat(bucket.start), tz=local)
    for name, found in bucket.metrics.items():
        numbers = ("" if number is None else repr(number) for number in (found.min, found.max, found.avg, found.sum))
        lines.append(f"{device_id},{start},{name},{found.count},{','.join(numbers)}\r\n")
    return "".join(lines)
