"""Rotation of API keys in the console, for one device or for many, and the page that shows new keys."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from devices.access.rotation import KeysReplaced, fingerprint, rotate_keys
from devices.changes.log import ROTATED, account, log_changed
from devices.console import new_keys
from devices.models import Device, RotationUnderWay
from devices.plurals import counted

# Maximum number of devices in one rotation.
ROTATED_AT_ONCE = 500


class RotationForm(forms.Form):
    """`replaced` is the fingerprint of the keys to replace, so that sending a page twice does not rotate twice."""

    replaced = forms.CharField(widget=forms.HiddenInput)
    overlap = forms.TypedChoiceField(
        label="How long the old key keeps working",
        coerce=lambda seconds: timedelta(seconds=int(seconds)),
        choices=[(0, "not at all"), (3600, "for an hour"), (86_400, "for a day"), (7 * 86_400, "for a week")],
        initial=86_400,
        widget=forms.RadioSelect,
    )
    force = forms.BooleanField(required=False)


def with_earlier_key(devices: Sequence[Device]) -> list[Device]:
    """The devices with an earlier key that still works; another rotation would end that key early."""
    now = timezone.now()
    return [device for device in devices if device.has_earlier_key(now=now)]


class KeyRotation(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """The part of the device admin that gives devices new keys and shows them."""

    def new_keys_view(self, request: HttpRequest, page: str) -> HttpResponseBase:
        """Shows new keys, for SHOWN_SECONDS. `realtime` adds to the page of a single key how to use it."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        keys = new_keys.kept(request, page, now=timezone.now())
        context = self.admin_site.each_context(request) | {"opts": self.opts, "keys": keys}
        if keys is None:
            context |= {"title": "No longer shown", "minutes": new_keys.SHOWN_SECONDS // 60}
            return TemplateResponse(request, "admin/devices/device/keys_gone.html", context, status=410)
        context["minutes"] = new_keys.SHOWN_SECONDS // 60
        if len(keys) > 1:
            context["title"] = f"New keys of {len(keys)} devices"
            return TemplateResponse(request, "admin/devices/device/keys.html", context)
        ((device_id, key),) = keys
        device = get_object_or_404(Device.objects.select_related("state"), device_id=device_id)
        context |= self.page_context(request, device, title=f"API key of {device_id}") | {"api_key": key}
        return TemplateResponse(request, "admin/devices/device/key.html", context)

    def page_context(self, request: HttpRequest, device: Device, *, title: str) -> dict[str, Any]:
        return self.admin_site.each_context(request) | {"opts": self.opts, "original": device, "title": title}

    def get_urls(self) -> list[URLPattern]:
        rotate = path(
            "<uuid:pk>/rotate-key/",
            self.admin_site.admin_view(self.rotate_key_view),
            name="devices_device_rotate_key",
        )
        shown = path(
            "new-keys/<slug:page>/",
            self.admin_site.admin_view(require_safe(self.new_keys_view)),
            name="devices_device_new_keys",
        )
        return [rotate, shown, *super().get_urls()]

    def rotate_key_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """Asks how long the old key keeps working, then leads to the new key."""
        device = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, device):
            raise PermissionDenied
        form = RotationForm(request.POST or None, initial={"replaced": fingerprint([device])})

        if shown := self.rotated(request, [device], form):
            return shown
        context = self.page_context(request, device, title=f"Rotate the key of {device.device_id}")
        context |= {"form": form, "devices": [device], "earlier": with_earlier_key([device])}
        return TemplateResponse(request, "admin/devices/device/rotate_key.html", context)

    def rotated(self, request: HttpRequest, devices: Sequence[Device], form: RotationForm) -> HttpResponse | None:
        """Rotates the keys of these devices as chosen in the form; returns None if the form has errors.

        The keys, the log entries and what the page will show are stored in one transaction, so that every stored key
        can be shown.
        """
        if not form.is_valid():
            return None
        wanted = form.cleaned_data
        try:
            with transaction.atomic():
                keys = rotate_keys(
                    [device.device_id for device in devices],
                    replaced=wanted["replaced"],
                    overlap=wanted["overlap"],
                    now=timezone.now(),
                    force=wanted["force"],
                )
                log_changed(devices, ROTATED, by=account(request.user))
                return new_keys.keep(request, [(device.device_id, key) for device, key in keys], now=timezone.now())
        except KeysReplaced:
            form.add_error("replaced", "The key was rotated already. Start again to get another key.")
        except RotationUnderWay:
            form.add_error("force", 'Choose this, or choose "not at all" above.')
        return None

    @admin.action(description="Rotate keys", permissions=["change"])
    def rotate(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse | None:
        """Asks how long the old keys keep working, then leads to the new keys."""
        chosen = list(Device.objects.filter(pk__in=devices.values("pk")).order_by("device_id")[: ROTATED_AT_ONCE + 1])
        if len(chosen) > ROTATED_AT_ONCE:
            self.message_user(request, f"Choose at most {ROTATED_AT_ONCE} devices at a time.", messages.ERROR)
            return None
        form = RotationForm(
            request.POST if "replaced" in request.POST else None, initial={"replaced": fingerprint(chosen)}
        )
        context = self.admin_site.each_context(request) | {"opts": self.opts, "devices": chosen, "form": form}

        keys_of = f"{ngettext('key', 'keys', len(chosen))} of {counted(len(chosen), 'device', 'devices')}"
        if shown := self.rotated(request, chosen, form):
            return shown
        context |= {
            "title": f"Rotate the {keys_of}",
            "earlier": with_earlier_key(chosen),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/devices/device/rotate_keys.html", context)
