"""`POST /ingest` and `/ingest/batch`: a view decodes the body, stores the readings through `way`, and answers."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

import msgspec
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed, ErrorDetail, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices import cpu_pool
from devices.access.authentication import INVALID_KEY, KeyAuthentication, caller_of, key_in
from devices.access.callers import Caller, Role
from devices.access.current import calling_device
from devices.access.permissions import CallerPermission
from devices.access.throttling import DeviceThrottle, TooManyPosts
from readings.ingest import openapi
from readings.ingest.answers import batch_result, reading_result
from readings.ingest.async_viewset import AsyncViewSet, JSONResponse
from readings.ingest.decoding import Posted, decode_batch, decode_reading
from readings.ingest.refused_posts import refused_post
from readings.ingest.way import OwnWay, Way
from readings.log.entries import NewReading, Refusal
from readings.log.recording import INACTIVE_DEVICE, UNKNOWN_DEVICE

REASONS_NOTED = 5
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


class IngestPermission(CallerPermission):
    message = "The administrator's key cannot post readings. Use a device's key or a fleet key."


class IngestViewSet(AsyncViewSet):
    """The endpoints to which devices and gateways post readings. They accept only keys, no browser sessions.

    `way` is how the request uses the database: together with other requests or on its own. The answers are the same.
    """

    authentication_classes = [KeyAuthentication]
    permission_classes = [IngestPermission]
    throttle_classes = [DeviceThrottle]
    admin_permissions: dict[str, str] = {}
    open_to = {"create": (Role.DEVICE, Role.FLEET), "batch": (Role.DEVICE, Role.FLEET)}
    # Detail of a database error before the commit. An unconfirmed commit is an OutcomeUnknown instead.
    when_unavailable = "Nothing was stored; send it again."
    posted = Posted()  # the decoded body
    way: Way  # chosen by `dispatch`

    def throttled(self, request: Request, wait: float) -> NoReturn:
        rate = settings.DEVICE_RATE_LIMIT
        raise TooManyPosts(wait, f"This device posts more often than DEVICE_RATE_LIMIT allows ({rate}).")

    async def authenticate(self, request: Request) -> None:
        meta = request.META
        key = key_in(api_key=meta.get("HTTP_X_API_KEY"), authorization=meta.get("HTTP_AUTHORIZATION"))
        request.user, request.auth = AnonymousUser(), None
        # DRF's flag for a successful authentication: without it a refusal is a 401, with it a 403.
        request._authenticator = None  # type: ignore[attr-defined]
        if key is None:
            return
        caller = await self.way.caller(key)
        if caller is None:
            raise AuthenticationFailed(INVALID_KEY, code="invalid_key")
        request.auth = caller
        if caller.device:
            calling_device.set(caller.device.device_id)
        request._authenticator = KeyAuthentication()  # type: ignore[attr-defined]

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.way = getattr(request, "way", None) or OwnWay(request)
        response = await super().dispatch(request, *args, **kwargs)
        if 400 <= response.status_code < 500 and response.status_code != status.HTTP_405_METHOD_NOT_ALLOWED:
            assert isinstance(response, Response)
            await self.note_problem(response)
        return response

    async def note_problem(self, response: Response) -> None:
        problem = response.data
        if "rejected" in problem:
            await self.note_rejected(response.status_code, problem["rejected"])
            return
        error = (problem.get("errors") or [{"field": "", "code": problem["code"]}])[0]
        unknown = error["code"] == UNKNOWN_DEVICE.code
        await self.note(
            response.status_code, problem["code"], error["field"], problem["detail"], unknown_device=unknown
        )

    async def note_rejected(self, status_code: int, rejected: list[dict[str, Any]]) -> None:
        """Notes the first refused reading of a batch for each reason, for at most REASONS_NOTED reasons."""
        reasons: dict[tuple[str, str, str], dict[str, Any]] = {}
        for rejection in rejected:
            reasons.setdefault((rejection["code"], rejection["field"], rejection["detail"]), rejection)
        for (code, field, detail), rejection in list(reasons.items())[:REASONS_NOTED]:
            unknown = code == UNKNOWN_DEVICE.code
            await self.note(status_code, code, field, detail, index=rejection["index"], unknown_device=unknown)

    async def note(
        self,
        status_code: int,
        code: str,
        field: str,
        detail: str,
        *,
        index: int = 0,
        unknown_device: bool = False,
    ) -> None:
        meta = self.request.META
        caller = self.request.auth if isinstance(self.request.auth, Caller) else None
        key = key_in(api_key=meta.get("HTTP_X_API_KEY"), authorization=meta.get("HTTP_AUTHORIZATION"))
        refusal = refused_post(
            caller=caller.role.value if caller else "nobody",
            # Only of an unknown key, because the keys of gateways and of the administrator are secrets.
            unknown_key=key if caller is None else None,
            device_id=own_device_id(caller) or self.posted.device_of(index) if caller else "",
            address=meta.get("REMOTE_ADDR") or "",
            status=status_code,
            code=code,
            field=field,
            detail=detail,
            unknown_device=unknown_device,
        )
        await self.way.note(refusal, now=timezone.now())

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
        self.posted = await body.decoded(partial(decode, **about), caller=caller_name(request))
        if self.posted.problem:
            raise self.posted.problem
        return self.posted.outcomes, received_at

    @openapi.ingest
    async def create(self, request: Request) -> JSONResponse:
        (reading,), received_at = await self.readings(request, decode_reading)
        if isinstance(reading, Refusal):
            raise refused(reading)
        calling_device.set(reading.device_id)
        (recorded,) = await self.way.record([reading], received_at=received_at)
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
        recorded = await self.way.record(readings, received_at=received_at) if readings else []
        answered = partial(batch_result, outcomes, recorded, received_at)
        heavy = len(outcomes) > LIGHT_READINGS_MAX
        answer = await cpu_pool.run(caller_name(request), answered) if heavy else answered()
        if answer["rejected_count"] == len(outcomes):
            raise NothingStored(answer)
        if answer["rejected_count"]:
            await self.note_rejected(status.HTTP_207_MULTI_STATUS, answer["rejected"])
            return JSONResponse(answer, status=status.HTTP_207_MULTI_STATUS)
        return JSONResponse(answer, status=status.HTTP_201_CREATED)


def own_device_id(caller: Caller) -> str | None:
    """The device of the key; None for a fleet key, with which each reading names its device."""
    return caller.device.device_id if caller.device else None


def caller_name(request: Request) -> str:
    """The name under which limits count this request: the device, or the gateway's key."""
    if own := own_device_id(caller_of(request)):
        return own
    meta = request.META
    # A hash, because the key itself should be in as few places as possible.
    return f"gateway {hash(key_in(api_key=meta.get('HTTP_X_API_KEY'), authorization=meta.get('HTTP_AUTHORIZATION')))}"


def refused(refusal: Refusal) -> APIException:
    """The API error for a refused single reading: 403 if the key may not write for the device, else 422."""
    if refusal.code in ("other_device", INACTIVE_DEVICE.code):
        return PermissionDenied(refusal.detail, code=refusal.code)
    error = ValidationError(ErrorDetail(refusal.detail, code=refusal.code))
    # Set directly, because the client chooses the field's name, which may have a special meaning in DRF.
    error.problem_members = {"errors": [msgspec.structs.asdict(refusal)]}  # type: ignore[attr-defined]
    return error
