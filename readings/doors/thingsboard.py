"""ThingsBoard's telemetry over HTTP: `POST /api/v1/<key>/telemetry`, and `…/attributes`, which are not stored.

The key is in the address, so this door is open only if DOORS names it, and `telemetry.monitoring.redaction` hides such
addresses in every log line.
"""

from functools import partial
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from devices.access.authentication import caller_of
from devices.access.callers import Role
from readings.doors import openapi
from readings.doors.json_bodies import Documents, decode_body, gathered
from readings.doors.switches import Door
from readings.doors.times import Receipt
from readings.doors.translation import Translation, translate
from readings.doors.views import DoorViewSet
from readings.ingest.decoding import Posted, batch_size
from readings.ingest.payloads import BATCH_READINGS_MAX
from readings.ingest.posting import own_device_id
from readings.log.entries import NewReading, Refusal

NOT_TELEMETRY = 'Telemetry is {"temperature": 21.5}, {"ts": 1778328000000, "values": {…}}, or an array of these.'


class ThingsBoardViewSet(DoorViewSet):
    door = Door.THINGSBOARD
    open_to = {"telemetry": (Role.DEVICE,), "attributes": (Role.DEVICE,)}

    def key_of(self, request: Request) -> str | None:
        return str(self.kwargs["key"])

    @openapi.thingsboard
    async def telemetry(self, request: Request, key: str) -> HttpResponse:
        body = await self.way.body()
        received_at = timezone.now()
        device_id = own_device_id(caller_of(request))
        assert device_id is not None  # only devices may call
        decode = partial(decode_telemetry, device_id=device_id, receipt=Receipt(received_at))
        self.posted = posted = await body.decoded(decode, caller=self.caller_name())
        readings = [outcome for outcome in posted.outcomes if isinstance(outcome, NewReading)]
        recorded = await self.record(readings, received_at=received_at)
        self.count(recorded, refused=len(posted.outcomes) - len(readings))
        refused = [outcome for outcome in posted.outcomes if isinstance(outcome, Refusal)]
        refused += [outcome.refusal for outcome in recorded if outcome.refusal]
        if posted.skipped:
            await self.note_skipped(posted.skipped, status=422 if refused else 200)
        if refused:
            raise some_refused(refused, stored=len(readings) - sum(bool(outcome.refusal) for outcome in recorded))
        return HttpResponse(status=200, content_type="application/json")

    @openapi.thingsboard_attributes
    async def attributes(self, request: Request, key: str) -> HttpResponse:
        """Accepts what a device says about itself, as over MQTT: its client would otherwise send it for ever."""
        body = await self.way.body()
        self.posted = await body.decoded(decode_attributes, caller=self.caller_name())
        return HttpResponse(status=200, content_type="application/json")


def decode_attributes(body: bytes, refused: str) -> Posted:
    """Nothing, because attributes are not stored. Raises ParseError and BodyTooLarge."""
    decode_body(body, refused)
    return Posted()


def decode_telemetry(body: bytes, refused: str, *, device_id: str, receipt: Receipt) -> Documents:
    """The readings in a body. Raises ParseError, ValidationError and BodyTooLarge."""
    document = decode_body(body, refused)
    entries = document if isinstance(document, list) else [document]
    if len(entries) > BATCH_READINGS_MAX:
        raise batch_size(f"this one has {len(entries)}")
    return gathered(device_id, (entry_of(entry, device_id, receipt) for entry in entries))


def entry_of(entry: Any, device_id: str, receipt: Receipt) -> Translation | Refusal:
    if not isinstance(entry, dict):
        return Refusal("", "not_telemetry", NOT_TELEMETRY)
    values, time_ns = entry, None
    if isinstance(entry.get("values"), dict) and "ts" in entry:
        values, milliseconds = entry["values"], entry["ts"]
        if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
            return Refusal("ts", "invalid_time", "ts must be a whole number of milliseconds since 1970.")
        time_ns = milliseconds * 1_000_000
    return translate(values, device_id=device_id, receipt=receipt, time_ns=time_ns)


def some_refused(refused: list[Refusal], *, stored: int) -> ValidationError:
    """The error for a body of which some entries are not stored; the others are."""
    first = refused[0]
    detail = f"{first.detail} Refused: {len(refused)}, stored: {stored}."
    error = ValidationError({first.field: ErrorDetail(first.detail, code=first.code)})
    error.problem_members = {  # type: ignore[attr-defined]
        "errors": [{"field": first.field, "code": first.code, "detail": detail}],
    }
    return error
