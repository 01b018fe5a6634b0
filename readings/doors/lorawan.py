"""Webhooks of LoRaWAN network servers: The Things Stack (`/api/v1/doors/ttn`) and ChirpStack 4 (`…/chirpstack`).

A network server stops a webhook that fails too often, for all its devices. So an event that is no uplink, or is of a
device that is not registered, is answered 200; the latter is noted among the refused posts.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError
from rest_framework.request import Request

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.tokens.scopes import Scope
from devices.validators import is_device_id
from readings.doors import openapi
from readings.doors.json_bodies import Documents, decode_body, gathered
from readings.doors.registering import registered_among
from readings.doors.switches import Door
from readings.doors.times import Receipt, nanoseconds
from readings.doors.translation import UNDECODED, Skipped, Translation, translate
from readings.doors.views import DoorViewSet
from readings.ingest.async_viewset import JSONResponse
from readings.ingest.posting import own_device_id
from readings.log.entries import Refusal
from readings.log.recording import UNKNOWN_DEVICE, Recorded


class Uplink(msgspec.Struct, frozen=True):
    """What an event says. `values`: None if the payload is not decoded. `gateways`: each with `rssi` and `snr`."""

    dev_eui: Any
    values: Any
    time: Any
    gateways: Any
    reading_id: Any = None


def ttn_uplink(document: dict[str, Any]) -> Uplink | None:
    """The uplink in an event of The Things Stack; None if it is another event."""
    message = document.get("uplink_message")
    if not isinstance(message, dict):
        return None
    device = document.get("end_device_ids")
    return Uplink(
        dev_eui=device.get("dev_eui") if isinstance(device, dict) else None,
        values=message.get("decoded_payload"),
        time=message.get("received_at"),
        gateways=message.get("rx_metadata"),
    )


def chirpstack_uplink(document: dict[str, Any]) -> Uplink | None:
    """The uplink in an event of ChirpStack 4; None if it is another event."""
    device = document.get("deviceInfo")
    # It leaves out what is 0, such as the first fCnt after a join, so only an uplink's payload tells that it is one.
    # An event of another integration has an object too.
    uplink = ("data" in document or "object" in document) and "integrationName" not in document
    if not isinstance(device, dict) or not uplink:
        return None
    return Uplink(
        dev_eui=device.get("devEui"),
        values=document.get("object"),
        time=document.get("time"),
        gateways=document.get("rxInfo"),
        reading_id=document.get("deduplicationId"),
    )


class LoRaWANViewSet(DoorViewSet):
    door = Door.LORAWAN
    open_to = {"ttn": (Role.DEVICE, Role.FLEET), "chirpstack": (Role.DEVICE, Role.FLEET)}

    @openapi.ttn
    async def ttn(self, request: Request) -> HttpResponse:
        return await self.event(request, ttn_uplink)

    @openapi.chirpstack
    async def chirpstack(self, request: Request) -> HttpResponse:
        return await self.event(request, chirpstack_uplink)

    async def event(self, request: Request, uplink_in: Callable[[dict[str, Any]], Uplink | None]) -> HttpResponse:
        body = await self.way.body()
        received_at = timezone.now()
        decode = partial(decode_event, uplink_in=uplink_in, receipt=Receipt(received_at))
        self.posted = posted = await body.decoded(decode, caller=self.caller_name())
        if not posted.events:
            return JSONResponse({"stored": 0}, status=200)
        own = own_device_id(caller_of(request))
        if own is not None and posted.dev_eui.lower() != own.lower():
            raise PermissionDenied("This key may write only for its own device.", code="other_device")
        recorded = await self.recorded(posted, own, received_at) if posted.outcomes else None
        refusal = recorded.refusal if recorded else None
        self.count([recorded] if recorded else [], refused=0)
        if refusal is not None:
            unknown = refusal.code == UNKNOWN_DEVICE.code
            await self.note(200, refusal.code, refusal.field, refusal.detail, unknown_device=unknown)
            return JSONResponse({"stored": 0, "refused": msgspec.structs.asdict(refusal)}, status=200)
        if posted.skipped:
            await self.note_skipped([(posted.dev_eui, value) for _, value in posted.skipped], status=200)
        return JSONResponse({"stored": int(recorded is not None and not recorded.duplicate)}, status=200)

    async def recorded(self, posted: "Event", own: str | None, received_at: datetime) -> Recorded:
        """Stores the reading for the device whose id is the DevEUI, in any of the spellings that people register."""
        (outcome,) = posted.outcomes
        if isinstance(outcome, Refusal):
            return Recorded(refusal=outcome)
        eui = posted.dev_eui
        recorded = Recorded(refusal=UNKNOWN_DEVICE)
        spellings = [own] if own else list(dict.fromkeys((eui, eui.lower(), eui.upper())))
        if caller_of(self.request).has_scope(Scope.REGISTER):
            known = await self.way.ask(registered_among, spellings)
            spellings = known or [eui.lower()]
        for device_id in spellings:
            reading = msgspec.structs.replace(outcome, device_id=device_id)
            (recorded,) = await self.record([reading], received_at=received_at)
            if recorded.refusal is None or recorded.refusal.code != UNKNOWN_DEVICE.code:
                posted.dev_eui = device_id
                break
        return recorded


class Event(Documents):
    """`dev_eui`: the device, as the event spells it; once its reading is recorded, as it is registered."""

    dev_eui: str = ""

    def device_of(self, index: int) -> str:
        return self.dev_eui


def decode_event(
    body: bytes, refused: str, *, uplink_in: Callable[[dict[str, Any]], Uplink | None], receipt: Receipt
) -> Event:
    """The reading of an event, without `events` if it is no uplink. Raises ParseError and ValidationError."""
    document = decode_body(body, refused)
    if not isinstance(document, dict):
        raise invalid("", "not_an_object", "An event is a JSON object.")
    if (uplink := uplink_in(document)) is None:
        return Event()
    eui = uplink.dev_eui
    if not isinstance(eui, str) or not is_device_id(eui):
        raise invalid("dev_eui", "invalid_device_id", "The event has no DevEUI.")
    # The id in a reading is always in lower case, so that it is the same in each spelling.
    found = gathered(eui, [translation_of(uplink, eui.lower(), receipt)])
    return Event(found.outcomes, {}, None, found.skipped, 1, eui)


def translation_of(uplink: Uplink, device_id: str, receipt: Receipt) -> Translation:
    values: dict[str, Any] = signal_of(uplink.gateways)
    decoded = isinstance(uplink.values, dict)
    if decoded:
        values |= uplink.values
    found = translate(
        values,
        device_id=device_id,
        receipt=receipt,
        time_ns=time_of(uplink.time),
        reading_id=uuid_in(uplink.reading_id),
    )
    if not decoded:
        found.skipped.append(Skipped("payload", UNDECODED))
    return found


def signal_of(gateways: Any) -> dict[str, Any]:
    """`rssi` (dBm) and `snr` (dB) of the gateway that received the strongest signal; {} if none tells."""
    best: Mapping[str, Any] = {}
    for gateway in gateways if isinstance(gateways, list) else []:
        if isinstance(gateway, dict) and strength(gateway) > strength(best):
            best = gateway
    return {name: best[name] for name in ("rssi", "snr") if isinstance(best.get(name), int | float)}


def strength(gateway: Mapping[str, Any]) -> float:
    rssi = gateway.get("rssi")
    return rssi if isinstance(rssi, int | float) else float("-inf")


def time_of(text: Any) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time; None if there is none. Raises ValidationError."""
    if text is None:
        return None
    try:
        return nanoseconds(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid("time", "invalid_time", "The time of the event is not an RFC 3339 time.") from error


def uuid_in(text: Any) -> UUID | None:
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        return None  # then an id is derived


def invalid(field: str, code: str, detail: str) -> ValidationError:
    return ValidationError({field: ErrorDetail(detail, code=code)})
