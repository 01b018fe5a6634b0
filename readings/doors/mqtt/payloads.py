"""Translates the payload of a message into readings, or into what a device says about its status."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from rest_framework.exceptions import APIException

from devices.api.json_decoding import decode_json
from devices.metrics import TIME_NAMES
from devices.validators import DEVICE_ID_PATTERN, is_device_id
from readings.doors.mqtt.topics import SWITCH, Meaning, Topic
from readings.doors.times import Receipt, nanoseconds
from readings.doors.translation import DEPTH_MAX, Skipped, translate
from readings.ingest.payloads import BATCH_READINGS_MAX, InvalidReading, measured_at, metric_value, reading_id
from readings.log.entries import NewReading, Refusal
from readings.log.ids import uuid7

# Keys of a reading that are not values.
KEYS = frozenset({"id", "device_id", "age_seconds", "seq"})
# Names of times (`devices.metrics.TIME_NAMES`) that may also be a number; the others only a text with an offset.
CLOCKS = frozenset({"ts", "timestamp", "time"})
# A number from here on is a time in milliseconds since 1970, below in seconds.
MILLISECONDS_FROM = 100_000_000_000
# What devices say with one word, in lower case.
WORDS = {"on": True, "off": False, "true": True, "false": False, "open": True, "closed": False}
STATUS_WORDS = {"online": True, "connected": True, "1": True, "offline": False, "disconnected": False, "0": False}
# Members of Tasmota's documents, at any level, that are no measurements: times, units, addresses, its own settings.
TASMOTA_NOTES = {
    *("Time", "TempUnit", "PressureUnit", "SpeedUnit", "Id", "TotalStartTime", "Uptime", "Downtime"),
    *("Sleep", "SleepMode", "MqttCount", "AP", "SSId", "BSSId", "Channel", "Mode", "LinkCount"),
}
STATUS = Refusal("", "invalid_status", "A status is the text online or offline.")


class Status(msgspec.Struct, frozen=True):
    """What a device says about itself."""

    device_id: str
    online: bool


class Content(msgspec.Struct):
    """What a message contains. Refusals and skipped values each with their device, "" if it is unknown."""

    readings: list[NewReading] = []
    refusals: list[tuple[str, Refusal]] = []
    skipped: list[tuple[str, Skipped]] = []
    status: Status | None = None


def content_of(topic: Topic, payload: bytes, *, own: str | None, received_at: datetime) -> Content:
    """`own`: the device of the key; None for a fleet key, with which topic or payload name the device.

    Never raises: what cannot be read is a refusal.
    """
    content = Content()
    named = topic.device_id if own is None or topic.named else None
    try:
        if topic.meaning is Meaning.STATUS:
            device_id = owner_of({}, named, own)
            content.status = Status(device_id, says_online(payload))
        elif topic.meaning is Meaning.VALUE:
            add(content, [{topic.metric: value_of(payload)}], named, own, received_at)
        elif topic.meaning is Meaning.READINGS:
            document = document_of(payload)
            if topic.tasmota and isinstance(document, dict):
                document = measured_by_tasmota(document)
            if topic.tasmota and document == {}:
                return content
            add(content, items_of(document), named, own, received_at)
    except InvalidReading as error:
        content.refusals.append((own or known(named), error.refusal))
    return content


def measured_by_tasmota(document: dict[str, Any], depth: int = 1) -> dict[str, Any]:
    """The document without notes, and with the words of switches (`"POWER":"ON"`) as `switch` with true and false."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in TASMOTA_NOTES:
            continue
        if isinstance(value, dict) and depth < DEPTH_MAX:
            value = measured_by_tasmota(value, depth + 1)
        elif isinstance(value, str):
            value = WORDS.get(value.lower(), value)
        found[SWITCH.sub(r"switch\1", name) if SWITCH.fullmatch(name) else name] = value
    return found


def add(content: Content, documents: Iterable[Any], named: str | None, own: str | None, received_at: datetime) -> None:
    receipt = Receipt(received_at)
    for document in documents:
        device_id = own or known(named)
        try:
            if not isinstance(document, dict):
                raise InvalidReading("", "not_an_object", 'A reading is a JSON object, such as {"temperature": 21.5}.')
            device_id = owner_of(document, named, own)
            add_reading(content, document, device_id, receipt)
        except InvalidReading as error:
            content.refusals.append((device_id, error.refusal))


def add_reading(content: Content, document: dict[str, Any], device_id: str, receipt: Receipt) -> None:
    values, time_ns = document, None
    if isinstance(document.get("values"), dict) and "ts" in document:  # ThingsBoard's form
        values = document["values"]
    time_ns, time_name = sent_time(document)
    identifier = reading_id(document.get("id"))
    if document.get("age_seconds") is not None:
        time_ns = nanoseconds(measured_at(document["age_seconds"], receipt.at))
        identifier = identifier or uuid7()
    elif identifier is None and time_ns is None:
        # So that a reading is stored once, also if the database did not confirm the commit and it is stored again.
        identifier = uuid7()
    if values is document:
        values = {name: value for name, value in document.items() if name not in KEYS and name != time_name}
    translation = translate(values, device_id=device_id, receipt=receipt, time_ns=time_ns, reading_id=identifier)
    content.skipped += [(device_id, value) for value in translation.skipped]
    if isinstance(translation.reading, NewReading):
        content.readings.append(translation.reading)
    elif translation.reading is not None:
        content.refusals.append((device_id, translation.reading))
    elif not translation.skipped:
        content.refusals.append((device_id, Refusal("", "no_metrics", "A reading needs at least one metric.")))


def sent_time(document: dict[str, Any]) -> tuple[int | None, str]:
    """The time in a document in nanoseconds since 1970, and the name of its member; None, "" if it has none."""
    for name in TIME_NAMES:
        value = document.get(name)
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                pass
            else:
                if moment.tzinfo is not None and 1 < moment.year < 9999:
                    return nanoseconds(moment.astimezone(UTC)), name
        if name not in CLOCKS or value is None or isinstance(value, bool | list | dict):
            continue
        try:
            number = metric_value(name, value)
        except InvalidReading:
            continue
        factor = 1_000_000 if abs(number) >= MILLISECONDS_FROM else 1_000_000_000
        return int(number * factor), name
    return None, ""


def owner_of(document: dict[str, Any], named: str | None, own: str | None) -> str:
    """The device of a reading. Raises InvalidReading if topic, payload and key do not name the same one."""
    inside = document.get("device_id")
    if own is not None and inside is None and named in (None, own):  # the most frequent case
        return own
    for sent in (named, inside):
        if sent is not None and not (isinstance(sent, str) and is_device_id(sent)):
            raise InvalidReading("device_id", "invalid_device_id", f"A device_id must match ^{DEVICE_ID_PATTERN}$.")
    if own is not None and any(sent not in (None, own) for sent in (named, inside)):
        raise InvalidReading("device_id", "other_device", "This key may write only for its own device.")
    if named is not None and inside not in (None, named):
        raise InvalidReading("device_id", "other_device", "The payload names another device than the topic.")
    if not (device_id := own or named or inside):
        detail = "With a fleet key the topic, or each reading, must name the device."
        raise InvalidReading("device_id", "required", detail)
    return str(device_id)


def known(named: str | None) -> str:
    return named if named and is_device_id(named) else ""


def text_of(payload: bytes) -> str:
    """Raises InvalidReading."""
    try:
        return payload.decode().strip()
    except UnicodeDecodeError as error:
        raise InvalidReading("", "malformed", "The payload is not valid UTF-8.") from error


def says_online(payload: bytes) -> bool:
    """Raises InvalidReading. Also reads `{"state": "online"}`."""
    text: Any = text_of(payload)
    if text.startswith("{"):
        document = document_of(payload)
        text = document.get("state", document.get("status"))
    online = STATUS_WORDS.get(text.lower()) if isinstance(text, str) else None
    if online is None:
        raise InvalidReading(STATUS.field, STATUS.code, STATUS.detail)
    return online


def value_of(payload: bytes) -> Any:
    """The value of a topic that names a metric: JSON, or a word such as ON, or text, which is skipped later."""
    text = text_of(payload)
    if (word := WORDS.get(text.lower())) is not None:
        return word
    if text[:1] in ("{", "["):
        return document_of(payload)
    return text


def document_of(payload: bytes) -> Any:
    """Raises InvalidReading."""
    try:
        return decode_json(payload)
    except APIException as error:
        raise InvalidReading("", "malformed", str(error.detail)) from error


def items_of(document: Any) -> list[Any]:
    """The readings of a document. Raises InvalidReading."""
    if isinstance(document, dict) and set(document) == {"readings"}:
        document = document["readings"]
    items = document if isinstance(document, list) else [document]
    if not 0 < len(items) <= BATCH_READINGS_MAX:
        detail = f"A batch has 1 to {BATCH_READINGS_MAX} readings; this one has {len(items)}."
        raise InvalidReading("", "batch_size", detail)
    return items
