"""Activating and deactivating many devices in the console. It asks first, and changes only what it asked about."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from devices.changes.log import ACTIVATED, DEACTIVATED, account, log_changed
from devices.keys import hash_key
from devices.models import Device
from devices.plurals import counted

# Devices that the page names; it gives the number of the others.
NAMED = 20


def digest(devices: Sequence[Device]) -> str:
    """Identifies these devices, in this order: 16 hexadecimal digits."""
    return hash_key(" ".join(device.device_id for device in devices))[:16]


class Activation(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """The part of the device admin that activates and deactivates devices."""

    @admin.action(description="Deactivate: refuse their keys", permissions=["change"])
    def deactivate(self, request: HttpRequest, devices: QuerySet[Device]) -> TemplateResponse | None:
        return self.set_active(request, devices, active=False)

    @admin.action(description="Activate again", permissions=["change"])
    def activate(self, request: HttpRequest, devices: QuerySet[Device]) -> TemplateResponse | None:
        return self.set_active(request, devices, active=True)

    def set_active(self, request: HttpRequest, devices: QuerySet[Device], *, active: bool) -> TemplateResponse | None:
        """Changes the devices of which `confirmed` in the form is the digest; asks if it is that of other devices.

        A filtered list may have other devices when the answer comes: some have gone online meanwhile, say.
        """
        confirmed = request.POST.get("confirmed")
        others = Device.objects.filter(pk__in=devices.values("pk")).exclude(is_active=active).order_by("device_id")
        with transaction.atomic():
            # In the order of the ids, like rotations, which prevents deadlocks.
            changed = list(others.select_for_update(no_key=True))
            if changed and confirmed != digest(changed):
                return self.ask(request, changed, active=active, again=confirmed is not None)
            Device.objects.filter(pk__in=[device.pk for device in changed]).update(is_active=active)
            word = ACTIVATED if active else DEACTIVATED
            was, became = {"is_active": not active}, {"is_active": active}
            log_changed(changed, word, by=account(request.user), before=was, after=became)
        word = "Activated" if active else "Deactivated"
        self.message_user(request, f"{word} {len(changed)} of the chosen devices.", messages.SUCCESS)
        return None

    def ask(self, request: HttpRequest, changed: Sequence[Device], *, active: bool, again: bool) -> TemplateResponse:
        number = counted(len(changed), "device", "devices")
        context: dict[str, Any] = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": f"{'Activate' if active else 'Deactivate'} {number}",
            "active": active,
            "again": again,
            "named": changed[:NAMED],
            "more": len(changed) - NAMED,
            "count": len(changed),
            "confirmed": digest(changed),
            "action": "activate" if active else "deactivate",
            # As chosen: the page sends the same choice again, which for a whole list is one field, not thousands.
            "select_across": request.POST.get("select_across", "0"),
            "chosen": request.POST.getlist("_selected_action"),
        }
        return TemplateResponse(request, "admin/devices/device/activation.html", context)
