"""Devices in the console with their latest values: `devices` cannot know of readings, so they join here."""

import csv
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join

from devices.admin import DeviceAdmin
from devices.models import Device
from readings.metrics import COLUMNS, UNITS
from readings.models import Reading

# Columns of the list that are for whoever may view readings.
OF_READINGS = ("latest_values", "live")
VALUES_SHOWN = 3
EXPORTED_AT_ONCE = 20_000
PAGE_DEVICES = 1000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class LatestChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """The page's devices, and in one query more their latest readings."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        if may_view_readings(request):
            give_latest(self.result_list)


def may_view_readings(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm("readings.view_reading"))


def give_latest(devices: Iterable[Any]) -> None:
    """Sets `latest`, the values of the latest reading by metric, on each."""
    latest = {r.device_id: r for r in Reading.objects.latest_of([device.device_id for device in devices])}
    for device in devices:
        device.latest = values_of(latest.get(device.device_id))


def values_of(reading: Reading | None) -> dict[str, float]:
    if reading is None:
        return {}
    columns: dict[str, float] = {name: value for name in COLUMNS if (value := getattr(reading, name)) is not None}
    return columns | dict(reading.extra)


@admin.register(Device)
class DeviceWithLatestAdmin(DeviceAdmin):
    list_display = ("device_id", "name", "status", "last_seen", "latest_values", "last_seq", "is_active", "live")
    actions = ("export", *DeviceAdmin.actions)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LatestChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        """Without the latest values, and the link to the page that has them, where the account may view no readings."""
        if may_view_readings(request):
            return self.list_display
        return tuple(name for name in self.list_display if name not in OF_READINGS)

    @admin.display(description="latest values", empty_value="")
    def latest_values(self, device: Any) -> str:
        shown = list(device.latest.items())[:VALUES_SHOWN]
        return format_html_join(
            " ",
            '<span class="value-shown">{} <span class="unit">{}</span></span>',
            ((f"{value:.6g}", UNITS.get(name, name.replace("_", " "))) for name, value in shown),
        )

    @admin.action(description="Export as CSV", permissions=["view"])
    def export(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse:
        """The chosen devices with status and, for whoever may view readings, latest values."""
        chosen: list[Any] = list(devices.order_by("device_id")[:EXPORTED_AT_ONCE])
        metrics: list[str] = []
        if may_view_readings(request):
            for first in range(0, len(chosen), PAGE_DEVICES):
                give_latest(chosen[first : first + PAGE_DEVICES])
            metrics = [*COLUMNS, *sorted({name for device in chosen for name in device.latest}.difference(COLUMNS))]
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="devices-{timezone.now():%Y-%m-%d}.csv"'
        writer = csv.writer(response)
        writer.writerow(["device_id", "name", "status", "active", "last_seen_at", "readings", *metrics])
        for device in chosen:
            seen = device.state.last_seen_at
            known = [device.device_id, harmless(device.name), device.status, device.is_active]
            counted = [seen.isoformat() if seen else "", device.state.last_seq]
            writer.writerow([*known, *counted, *(device.latest.get(name, "") for name in metrics)])
        return response


def harmless(text: str) -> str:
    """A name that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
