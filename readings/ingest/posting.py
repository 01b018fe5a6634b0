"""What all endpoints that store readings share: keys, the rate limit, and notes of what was refused."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response

from devices.access.authentication import INVALID_KEY, KeyAuthentication, caller_of, key_in
from devices.access.callers import Caller
from devices.access.current import calling_device
from devices.access.permissions import CallerPermission
from devices.access.throttling import DeviceThrottle, TooManyPosts
from readings.ingest.async_viewset import AsyncViewSet
from readings.ingest.decoding import Posted
from readings.ingest.refused_posts import refused_post
from readings.ingest.token_limits import record_for
from readings.ingest.way import OwnWay, Way
from readings.log.entries import NewReading
from readings.log.recording import UNKNOWN_DEVICE, Recorded

REASONS_NOTED = 5


class IngestPermission(CallerPermission):
    message = "The administrator's key cannot post readings. Use a device's key or a fleet key."


class PostingViewSet(AsyncViewSet):
    """Endpoints to which devices and gateways post readings. They accept only keys, no browser sessions.

    `way` is how the request uses the database: together with other requests or on its own. The answers are the same.
    """

    authentication_classes = [KeyAuthentication]
    permission_classes = [IngestPermission]
    throttle_classes = [DeviceThrottle]
    admin_permissions: dict[str, str] = {}
    # Detail of a database error before the commit. An unconfirmed commit is an OutcomeUnknown instead.
    when_unavailable = "Nothing was stored; send it again."
    key: str | None = None  # the key in the request
    posted = Posted()  # the decoded body
    way: Way  # chosen by `dispatch`

    def key_of(self, request: Request) -> str | None:
        """The key in the request; None if it has none."""
        meta = request.META
        return key_in(api_key=meta.get("HTTP_X_API_KEY"), authorization=meta.get("HTTP_AUTHORIZATION"))

    def throttled(self, request: Request, wait: float) -> NoReturn:
        rate = settings.DEVICE_RATE_LIMIT
        raise TooManyPosts(wait, f"This device posts more often than DEVICE_RATE_LIMIT allows ({rate}).")

    async def authenticate(self, request: Request) -> None:
        request.user, request.auth = AnonymousUser(), None
        # DRF's flag for a successful authentication: without it a refusal is a 401, with it a 403.
        request._authenticator = None  # type: ignore[attr-defined]
        self.key = self.key_of(request)
        if self.key is None:
            return
        caller = await self.way.caller(self.key)
        if caller is None:
            raise AuthenticationFailed(INVALID_KEY, code="invalid_key")
        request.auth = caller
        if caller.device:
            calling_device.set(caller.device.device_id)
        request._authenticator = KeyAuthentication()  # type: ignore[attr-defined]

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.way = getattr(request, "way", None) or OwnWay(request)
        response = await super().dispatch(request, *args, **kwargs)
        # Only errors are a `Response`.
        if (
            isinstance(response, Response)
            and response.status_code < 500
            and response.status_code != status.HTTP_405_METHOD_NOT_ALLOWED
        ):
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
        caller = self.request.auth if isinstance(self.request.auth, Caller) else None
        refusal = refused_post(
            caller=caller.role.value if caller else "nobody",
            # Only of an unknown key, because the keys of gateways and of the administrator are secrets.
            unknown_key=self.key if caller is None else None,
            device_id=own_device_id(caller) or self.posted.device_of(index) if caller else "",
            address=self.request.META.get("REMOTE_ADDR") or "",
            status=status_code,
            code=code,
            field=field,
            detail=detail,
            unknown_device=unknown_device,
            limit=caller.limit if caller else None,
        )
        await self.way.note(refusal, now=timezone.now())

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        """Stores the readings that the caller may write; returns the outcome of each, in order."""
        return await record_for(caller_of(self.request), self.way, readings, received_at=received_at)

    def caller_name(self) -> str:
        """The name under which limits count this request: the device, or the gateway's key."""
        if own := own_device_id(caller_of(self.request)):
            return own
        # A hash, because the key itself should be in as few places as possible.
        return f"gateway {hash(self.key)}"


def own_device_id(caller: Caller) -> str | None:
    """The device of the key; None for a fleet key, with which each reading names its device."""
    return caller.device.device_id if caller.device else None
