"""Registration of many devices in the console, and the labels of new devices."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.access.callers import Caller, viewer_of
from devices.changes.log import account
from devices.console import new_keys
from devices.models import Device
from devices.plurals import counted
from devices.registration.api import keys_as_csv
from devices.registration.labels import labels_with_addresses, labels_with_keys
from devices.registration.registering import may_add, register_table
from devices.registration.table import COLUMNS, DEVICES_MAX, FAULTS_LISTED, InvalidTable, checked

BYTES_MAX = 2 * 1024 * 1024
LABELS_AT_ONCE = 1_000
EXAMPLE = """\
device_id,name,tags,report_interval,location,latitude,longitude
bed-1,Bed 1,"greenhouse-3, tomatoes",60,"Row 1, left",52.5201,13.4050
bed-2,Bed 2,"greenhouse-3, tomatoes",60,"Row 1, right",52.5202,13.4051
"""


class TableForm(forms.Form):
    """A table as a file, or written into the page."""

    file = forms.FileField(required=False, label="CSV file", help_text="In UTF-8, at most 2 MB.")
    text = forms.CharField(
        required=False,
        strip=False,
        label="or paste it here",
        widget=forms.Textarea(attrs={"rows": 10, "cols": 80, "spellcheck": "false", "placeholder": EXAMPLE}),
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        file = values.get("file")
        if file is not None and file.size > BYTES_MAX:
            self.add_error("file", "The file has more than 2 MB.")
        elif file is None and not values.get("text", "").strip():
            raise forms.ValidationError("Choose a file, or paste a table.", code="required")
        return values

    def table(self) -> bytes:
        file = self.cleaned_data["file"]
        return bytes(file.read()) if file is not None else self.cleaned_data["text"].encode()


class Registration(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """The part of the device admin that registers the devices of a table."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        several = path("add-several/", view(self.add_several_view), name="devices_device_add_several")
        # Below the page of the keys, because the cookie that decrypts them is for that path.
        keys = path("new-keys/<slug:page>/csv/", view(require_safe(self.keys_csv_view)), name="devices_device_keys_csv")
        labels = path(
            "new-keys/<slug:page>/labels/", view(require_safe(self.labels_view)), name="devices_device_labels"
        )
        return [several, keys, labels, *super().get_urls()]

    def add_several_view(self, request: HttpRequest) -> HttpResponseBase:
        """Checks a table; registers its devices, and leads to their keys, if it has no fault."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        posted = request.method == "POST"
        form = TableForm(request.POST if posted else None, request.FILES if posted else None)
        context: dict[str, Any] = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": "Register several devices",
            "form": form,
            "columns": COLUMNS[1:],
            "most": DEVICES_MAX,
            "example": EXAMPLE,
        }
        if posted and form.is_valid():
            table, caller = form.table(), viewer_of(request.user)
            try:
                if "check" in request.POST:
                    number = len(checked(table, caller, may_add_tags=may_add(caller)))
                    messages.success(request, f"The table has {counted(number, 'device', 'devices')} and no fault.")
                else:
                    return self.registered(request, table, caller)
            except InvalidTable as error:
                context |= {"faults": error.faults[:FAULTS_LISTED], "fault_count": len(error.faults)}
        return TemplateResponse(request, "admin/devices/device/add_several.html", context)

    def registered(self, request: HttpRequest, table: bytes, caller: Caller) -> HttpResponse:
        """Registers the devices; returns the redirect to their keys, stored in the same transaction."""
        now = timezone.now()
        with transaction.atomic():
            devices = register_table(table, caller, by=account(request.user), now=now)
            return new_keys.keep(request, [(device.device_id, key) for device, key in devices], now=now)

    def keys_csv_view(self, request: HttpRequest, page: str) -> HttpResponseBase:
        keys = self.keys_of(request, page)
        return self.gone(request) if keys is None else keys_as_csv(keys)

    def labels_view(self, request: HttpRequest, page: str) -> HttpResponseBase:
        """A sheet of labels: `?code=key` (default) with keys, `?code=address` with the addresses of the pages."""
        keys = self.keys_of(request, page)
        if keys is None:
            return self.gone(request)
        server = f"{request.scheme}://{request.get_host()}"
        of_addresses = request.GET.get("code") == "address"
        labels = (
            labels_with_addresses([device_id for device_id, _ in keys], server=server)
            if of_addresses
            else labels_with_keys(keys, server=server)
        )
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": f"Labels of {counted(len(labels), 'device', 'devices')}",
            "labels": labels,
            "of_addresses": of_addresses,
            "has_keys": True,
        }
        return TemplateResponse(request, "admin/devices/device/labels.html", context)

    @admin.action(description="Print labels", permissions=["view"])
    def labels(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponseBase | None:
        """A sheet of labels of the chosen devices, with the addresses of their pages: keys are not known any more."""
        chosen = list(devices.order_by("device_id").values_list("device_id", flat=True)[: LABELS_AT_ONCE + 1])
        if len(chosen) > LABELS_AT_ONCE:
            self.message_user(request, f"Choose at most {LABELS_AT_ONCE} devices at a time.", messages.ERROR)
            return None
        labels = labels_with_addresses(chosen, server=f"{request.scheme}://{request.get_host()}")
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": f"Labels of {counted(len(labels), 'device', 'devices')}",
            "labels": labels,
            "of_addresses": True,
            "has_keys": False,
        }
        return TemplateResponse(request, "admin/devices/device/labels.html", context)

    def keys_of(self, request: HttpRequest, page: str) -> list[tuple[str, str]] | None:
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        return new_keys.kept(request, page, now=timezone.now())

    def gone(self, request: HttpRequest) -> HttpResponseBase:
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": "No longer shown",
            "minutes": new_keys.SHOWN_SECONDS // 60,
        }
        return TemplateResponse(request, "admin/devices/device/keys_gone.html", context, status=410)
