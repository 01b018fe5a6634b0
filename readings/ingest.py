"""`POST /ingest` and `/ingest/batch`: a view parses, `recording.store` stores, the view says what became of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn, Protocol

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed, ErrorDetail, PermissionDenied, ValidationError
from rest_framework.request import Request

from devices.authentication import INVALID_KEY, KeyAuthentication, caller_of, key_in
from devices.callers import Caller, Role, caller_for_key
from devices.context import calling_device
from devices.permissions import CallerPermission
from devices.throttling import DeviceThrottle, TooManyPosts
from devices.wire import decode_body
from readings import documentation, instruments
from readings.asynchronous import AsyncViewSet, JSONResponse
from readings.payloads import BATCH_READINGS_MAX, InvalidReading, NewReading, Refusal, parse_reading
from readings.recording import INACTIVE_DEVICE, Recorded, announce, store

REJECTIONS_LISTED = 100


class NothingStored(APIException):
    """None of a batch's readings can be stored; the answer's members are the batch's result."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "invalid"
    default_detail = "None of the readings is valid."

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__()
        errors = [
            {"field": f"{r['index']}.{r['field']}".rstrip("."), "code": r["code"], "detail": r["detail"]}
            for r in result["rejected"]
        ]
        self.problem_members = {"errors": errors} | result


class Lane(Protocol):
    """What a request has that came by the ingest lane (telemetry.lane): ways to the database that others share."""

    async def caller(self, key: str) -> Caller | None: ...

    # The body, and why it was refused (`telemetry.bodies.BodyRefused`), if it was.
    async def body(self) -> tuple[bytes, str]: ...

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]: ...


class IngestPermission(CallerPermission):
    message = "The administrator's key manages and reads; readings are posted with a device's or a fleet key."


class IngestViewSet(AsyncViewSet):
    """Where devices and gateways post readings. Keys only: a browser's session writes nothing.

    By the lane a request shares its look-up and its transaction with others; by Django's ordinary handler it has
    its own. The answers are the same.
    """

    authentication_classes = [KeyAuthentication]
    permission_classes = [IngestPermission]
    throttle_classes = [DeviceThrottle]
    admin_permissions: dict[str, str] = {}
    open_to = {"create": (Role.DEVICE, Role.FLEET), "batch": (Role.DEVICE, Role.FLEET)}

    def throttled(self, request: Request, wait: float) -> NoReturn:
        rate = settings.DEVICE_RATE_LIMIT
        raise TooManyPosts(wait, f"This device posts more often than DEVICE_RATE_LIMIT allows ({rate}).")

    async def authenticate(self, request: Request) -> None:
        meta = request.META
        key = key_in(api_key=meta.get("HTTP_X_API_KEY"), authorization=meta.get("HTTP_AUTHORIZATION"))
        request.user, request.auth = AnonymousUser(), None
        # DRF's own flag of success: without it a refusal is a 401, with it a 403.
        request._authenticator = None  # type: ignore[attr-defined]
        if key is None:
            return
        lane = lane_of(request)
        if lane is None:
            caller = await sync_to_async(caller_for_key)(key, now=timezone.now())
        else:
            caller = await lane.caller(key)
        if caller is None:
            raise AuthenticationFailed(INVALID_KEY, code="invalid_key")
        request.auth = caller
        if caller.device:
            calling_device.set(caller.device.device_id)
        request._authenticator = KeyAuthentication()  # type: ignore[attr-defined]

    async def document(self, request: Request) -> Any:
        """The decoded body, read only now that its sender is known to be allowed."""
        if (lane := lane_of(request)) is None:
            return request.data
        body, refused = await lane.body()
        return decode_body(body, content_type=request.META.get("CONTENT_TYPE", ""), refused=refused)

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        if (lane := lane_of(self.request)) is not None:
            return await lane.record(readings, received_at=received_at)
        # Announced from here: a thread that waited for this event loop would keep a stopping server from its end.
        outcomes, appended = await sync_to_async(store)(readings, received_at=received_at)
        await announce(appended)
        return outcomes

    @documentation.ingest
    async def create(self, request: Request) -> JSONResponse:
        document = await self.document(request)
        received_at = timezone.now()
        try:
            reading = parse_reading(document, device_id=own_device_id(caller_of(request)), received_at=received_at)
        except InvalidReading as error:
            instruments.REJECTED.labels(error.refusal.code).inc()
            raise refused(error.refusal) from error
        calling_device.set(reading.device_id)
        (recorded,) = await self.record([reading], received_at=received_at)
        if recorded.reading is None:
            assert recorded.refusal is not None
            raise refused(recorded.refusal)
        stored = recorded.reading
        answer = {"id": stored.id, "device_id": stored.device_id, "seq": stored.seq, "timestamp": stored.timestamp}
        if reading.ignored:
            answer["ignored"] = reading.ignored
        if recorded.duplicate:
            return JSONResponse(answer | {"duplicate": True}, status=status.HTTP_200_OK)
        return JSONResponse(answer, status=status.HTTP_201_CREATED)

    @documentation.ingest_batch
    async def batch(self, request: Request) -> JSONResponse:
        items = batch_items(await self.document(request))
        received_at = timezone.now()
        own = own_device_id(caller_of(request))
        outcomes: list[NewReading | Refusal] = [parse_item(item, own, received_at) for item in items]
        readings = [outcome for outcome in outcomes if isinstance(outcome, NewReading)]
        recorded = iter(await self.record(readings, received_at=received_at) if readings else ())
        results = [Recorded(refusal=o) if isinstance(o, Refusal) else next(recorded) for o in outcomes]
        answer = batch_result(results, received_at)
        if ignored := sorted({name for reading in readings for name in reading.ignored}):
            answer["ignored"] = ignored
        if answer["rejected_count"] == len(results):
            raise NothingStored(answer)
        return JSONResponse(answer, status=207 if answer["rejected_count"] else 201)


def lane_of(request: Request) -> Lane | None:
    return getattr(request._request, "lane", None)


def own_device_id(caller: Caller) -> str | None:
    """The device that a device's key speaks for; None for a fleet key, whose readings name theirs."""
    return caller.device.device_id if caller.device else None


def batch_items(document: Any) -> list[Any]:
    """The readings of a batch, unchecked. Raises ValidationError."""
    if isinstance(document, dict) and set(document) == {"readings"}:
        document = document["readings"]
    if not isinstance(document, list):
        expected = 'A batch is an array of readings, or {"readings": […]}. A single reading goes to /api/v1/ingest.'
        raise ValidationError({"": ErrorDetail(expected, code="not_a_batch")})
    if not 0 < len(document) <= BATCH_READINGS_MAX:
        count = f"A batch has 1 to {BATCH_READINGS_MAX} readings; this one has {len(document)}."
        raise ValidationError({"": ErrorDetail(count, code="batch_size")})
    return document


def parse_item(payload: Any, device_id: str | None, received_at: datetime) -> NewReading | Refusal:
    try:
        return parse_reading(payload, device_id=device_id, received_at=received_at)
    except InvalidReading as error:
        instruments.REJECTED.labels(error.refusal.code).inc()
        return error.refusal


def refused(refusal: Refusal) -> APIException:
    """A single reading's refusal: 403 where the key may not write for the device, else 422."""
    if refusal.code in ("other_device", INACTIVE_DEVICE.code):
        return PermissionDenied(refusal.detail, code=refusal.code)
    error = ValidationError(ErrorDetail(refusal.detail, code=refusal.code))
    # The field's name is the client's, and may be one that means something else to DRF.
    error.problem_members = {"errors": [msgspec.structs.asdict(refusal)]}  # type: ignore[attr-defined]
    return error


def batch_result(results: Sequence[Recorded], received_at: datetime) -> dict[str, Any]:
    """What became of a batch: counts, the first rejections, and each device's new stretch of log."""
    rejected = [(index, result.refusal) for index, result in enumerate(results) if result.refusal]
    stretches: dict[str, list[int]] = {}
    for result in results:
        if result.reading and not result.duplicate:
            stretches.setdefault(result.reading.device_id, []).append(result.reading.seq)
    return {
        "accepted": sum(map(len, stretches.values())),
        "duplicates": sum(result.duplicate for result in results),
        "rejected": [
            {"index": index, "field": refusal.field, "code": refusal.code, "detail": refusal.detail}
            for index, refusal in rejected[:REJECTIONS_LISTED]
        ],
        "rejected_count": len(rejected),
        "devices": [
            {"device_id": device_id, "first_seq": seqs[0], "last_seq": seqs[-1]}
            for device_id, seqs in stretches.items()
        ],
        "server_time": received_at,
    }
