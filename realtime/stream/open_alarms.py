"""The open alarms that sockets watch: the newest of them, and how many there are."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from devices.models import AccessVersion
from readings.alarms.documents import alarm_document
from readings.alarms.models import Alarm
from realtime.protocol import frames


class KnownAlarm(NamedTuple):
    """An alarm; times are texts as in frames. `document`: encoded by `frames.document`."""

    opened_at: str
    id: str
    device_id: str
    acknowledged_at: str | None
    document: str


class OpenAlarms(NamedTuple):
    """How many alarms are open (`total`), and the newest of them, at most `frames.ALARMS_PER_FRAME`."""

    total: int
    newest: list[KnownAlarm]


# The alarms of one device, by its id; of several devices; None: of the whole fleet.
Watched = str | frozenset[str] | None


def concerns(watched: Watched, device_id: str) -> bool:
    """Whether an alarm of the device is one of those that are watched."""
    if isinstance(watched, frozenset):
        return device_id in watched
    return watched in (None, device_id)


class Found(NamedTuple):
    """The open alarms by what is watched, and the revocations committed before they were read."""

    open: dict[Watched, OpenAlarms]
    access_version: int


def known(document: Mapping[str, Any]) -> KnownAlarm:
    """The alarm, from the document that the API returns."""
    acknowledged_at = document["acknowledged_at"]
    identity = document["opened_at"], str(document["id"]), document["device_id"]
    return KnownAlarm(*identity, acknowledged_at, frames.document(document))


def open_alarms(watched: Collection[Watched]) -> Found:
    """The open alarms of what is watched. At most four queries, and two for each set of several devices."""
    found: dict[Watched, OpenAlarms] = dict.fromkeys(watched, OpenAlarms(0, []))
    alarms = Alarm.objects.open().select_related("rule", "device").newest_first()
    if None in found:
        newest = encoded(alarms[: frames.ALARMS_PER_FRAME])
        found[None] = OpenAlarms(Alarm.objects.open().count() if newest else 0, newest)
    for devices in [watched for watched in found if isinstance(watched, frozenset)]:
        of_devices = alarms.filter(device_id__in=devices)
        newest = encoded(of_devices[: frames.ALARMS_PER_FRAME])
        found[devices] = OpenAlarms(of_devices.order_by().count() if newest else 0, newest)
    if device_ids := [device_id for device_id in found if isinstance(device_id, str)]:
        by_device: dict[str, list[Any]] = {}
        for alarm in alarms.filter(device_id__in=device_ids).newest_of_devices(frames.ALARMS_PER_FRAME):
            by_device.setdefault(str(alarm.device_id), []).append(alarm)
        for device_id, of_device in by_device.items():
            found[device_id] = OpenAlarms(of_device[0].of_device, encoded(of_device))
    return Found(found, AccessVersion.objects.current())


def encoded(alarms: Iterable[Alarm]) -> list[KnownAlarm]:
    return [known(alarm_document(alarm)) for alarm in alarms]
