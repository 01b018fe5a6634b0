"""`POST /ingest` and `/ingest/batch`: a view decodes the body, stores the readings through `way`, and answers."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, PermissionDenied, ValidationError
from rest_framework.request import Request

from devices import cpu_pool
from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.current import calling_device
from readings.ingest import openapi
from readings.ingest.answers import batch_result, reading_result
from readings.ingest.async_viewset import JSONResponse
from readings.ingest.decoding import Posted, decode_batch, decode_reading
from readings.ingest.posting import PostingViewSet, own_device_id
from readings.log.entries import NewReading, Refusal
from readings.log.recording import INACTIVE_DEVICE

# The answer to a batch of at most this many readings is built on the event loop, which takes a millisecond.
LIGHT_READINGS_MAX = 2_000


class NothingStored(APIException):
    """No reading of a batch can be stored. The problem document has the members of the batch result."""

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


class IngestViewSet(PostingViewSet):
    """The endpoints to which devices and gateways post readings."""

    open_to = {"create": (Role.DEVICE, Role.FLEET), "batch": (Role.DEVICE, Role.FLEET)}

    async def readings(
        self, request: Request, decode: Callable[..., Posted]
    ) -> tuple[list[NewReading | Refusal], datetime]:
        """The posted readings and the time of receipt. Reads the body only after the permission checks."""
        body = await self.way.body()
        received_at = timezone.now()
        about = {
            "content_type": request.META.get("CONTENT_TYPE", ""),
            "device_id": own_device_id(caller_of(request)),
            "received_at": received_at,
        }
        self.posted = await body.decoded(partial(decode, **about), caller=self.caller_name())
        if self.posted.problem:
            raise self.posted.problem
        return self.posted.outcomes, received_at

    @openapi.ingest
    async def create(self, request: Request) -> JSONResponse:
        (reading,), received_at = await self.readings(request, decode_reading)
        if isinstance(reading, Refusal):
            raise refused(reading)
        calling_device.set(reading.device_id)
        (recorded,) = await self.record([reading], received_at=received_at)
        if recorded.reading is None:
            assert recorded.refusal is not None
            raise refused(recorded.refusal)
        answer = reading_result(recorded.reading, reading)
        if recorded.duplicate:
            return JSONResponse(answer | {"duplicate": True}, status=status.HTTP_200_OK)
        return JSONResponse(answer, status=status.HTTP_201_CREATED)

    @openapi.ingest_batch
    async def batch(self, request: Request) -> JSONResponse:
        outcomes, received_at = await self.readings(request, decode_batch)
        readings = [outcome for outcome in outcomes if isinstance(outcome, NewReading)]
        recorded = await self.record(readings, received_at=received_at)
        answered = partial(batch_result, outcomes, recorded, received_at)
        heavy = len(outcomes) > LIGHT_READINGS_MAX
        answer = await cpu_pool.run(self.caller_name(), answered) if heavy else answered()
        if answer["rejected_count"] == len(outcomes):
            raise NothingStored(answer)
        if answer["rejected_count"]:
            await self.note_rejected(status.HTTP_207_MULTI_STATUS, answer["rejected"])
            return JSONResponse(answer, status=status.HTTP_207_MULTI_STATUS)
        return JSONResponse(answer, status=status.HTTP_201_CREATED)


def refused(refusal: Refusal) -> APIException:
    """The API error for a refused single reading: 403 if the key may not write for the device, else 422."""
    if refusal.code in ("other_device", INACTIVE_DEVICE.code):
        return PermissionDenied(refusal.detail, code=refusal.code)
    error = ValidationError(ErrorDetail(refusal.detail, code=refusal.code))
    # Set directly, because the client chooses the field's name, which may have a special meaning in DRF.
    error.problem_members = {"errors": [msgspec.structs.asdict(refusal)]}  # type: ignore[attr-defined]
    return error
