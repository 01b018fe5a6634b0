import csv
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from devices.access.callers import viewer_of
from devices.access.permissions import VIEW_READINGS
from devices.api.csv_cells import harmless
from devices.changes.log import account
from devices.console import new_keys
from devices.console.activation import Activation
from devices.console.registration import Registration
from devices.console.rotation import KeyRotation
from devices.console.tags import ADD_TAGS, DeviceForm, TagFilter, Tagging, chip
from devices.console.tokens import TokenAdmin
from devices.metrics import COLUMNS, Catalogue, shown
from devices.models import ApiToken, Device, Tag
from devices.plurals import counted
from devices.querysets import DeviceQuerySet
from devices.status import Status
from devices.tags.names import TAGS_MAX, key_of
from devices.tags.tagging import TagInUse, change_tag, create_tag, delete_tag, users
from devices.times import rfc3339

DEVICE_ID_HELP = "Such as greenhouse-7, or its MAC address: letters, digits and . _ : - . It cannot be changed later."
# Columns of the list that only accounts with the permission to view readings see.
OF_READINGS = ("latest_values", "live")
VALUES_SHOWN = 2
VALUES_IN_TOOLTIP = 20
EXPORTED_AT_ONCE = 20_000


admin.site.register(ApiToken, TokenAdmin)


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        assert isinstance(queryset, DeviceQuerySet)
        chosen = self.value()
        return queryset.of_status(Status(chosen)) if chosen in Status.values else queryset


class DeviceChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Gives each device of the page the catalogue of metrics, which is read once."""
        super().get_results(request)
        if may_view_readings(request):
            catalogue = DeviceAdmin.read_catalogue()
            for device in self.result_list:
                device.catalogue = catalogue


@admin.register(Device)
class DeviceAdmin(KeyRotation, Activation, Registration, Tagging):
    """Pages to add, find, rotate, deactivate and export devices. Devices cannot be deleted, because their log stays."""

    list_display = (
        "device_id",
        "name",
        "tag_list",
        "status",
        "last_seen",
        "latest_values",
        "last_seq",
        "is_active",
        "live",
    )
    list_filter = (StatusFilter, "is_active", TagFilter)
    search_fields = ("device_id", "name", "tags__name")
    search_help_text = "Part of the device id, the name or a tag"
    ordering = ("device_id",)
    list_per_page = 100
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("export", "labels", "add_tag", "remove_tag", "rotate", "deactivate", "activate")
    form = DeviceForm
    readonly_fields = ("status", "last_seen", "last_seq", "key_hint", "retiring_key_expires_at", "created_at")
    place = ("tag_names", "location", ("latitude", "longitude"), "notes")
    fields = ("device_id", "name", "is_active", *place, "report_interval", "retention_days", *readonly_fields)
    new_fields = ("device_id", "name", "report_interval", *place)
    # `readings`, which stores the catalogue, sets it, because this package cannot import it.
    read_catalogue: Callable[[], Catalogue] = staticmethod(Catalogue)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeviceChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        devices = super().get_queryset(request)
        assert isinstance(devices, DeviceQuerySet)
        return devices.select_related("state").with_status(now=timezone.now()).with_tags()

    @admin.display(ordering="status")
    def status(self, device: Any) -> str:
        return format_html('<span class="status" data-status="{0}">{0}</span>', str(device.status))

    @admin.display(ordering="state__last_seen_at", empty_value="never")
    def last_seen(self, device: Device) -> str | None:
        """The exact time in UTC; the script of the page replaces it by the time that has passed since."""
        moment = device.state.last_seen_at
        if moment is None:
            return None
        exact = f"{moment:%Y-%m-%d %H:%M:%S}"
        return format_html('<time data-ago datetime="{}" title="{} UTC">{}</time>', moment.isoformat(), exact, exact)

    @admin.display(description="readings", ordering="state__last_seq")
    def last_seq(self, device: Device) -> int:
        return device.state.last_seq

    def get_list_display(self, request: HttpRequest) -> Any:
        """Leaves out the latest values and the link to the live page if the account may not view readings."""
        if may_view_readings(request):
            return self.list_display
        return tuple(name for name in self.list_display if name not in OF_READINGS)

    @admin.display(description="latest values", empty_value="")
    def latest_values(self, device: Any) -> str:
        """The first values, with their unit or else their label; how many more there are, listed in the tooltip."""
        catalogue: Catalogue = device.catalogue
        values = device.state.latest_metrics()
        latest = [latest_text(catalogue, name, values[name]) for name in catalogue.in_order(values)]
        first = format_html_join(
            " ",
            '<span class="value-shown" title="{2}">{0} <span class="unit">{1}</span></span>',
            latest[:VALUES_SHOWN],
        )
        if len(latest) <= VALUES_SHOWN:
            return first
        rest = [title for _, _, title in latest[VALUES_SHOWN:]]
        listed = "\n".join(rest[:VALUES_IN_TOOLTIP] + ["…"] * (len(rest) > VALUES_IN_TOOLTIP))
        return format_html('{} <span class="value-more" title="{}">+{} more</span>', first, listed, len(rest))

    @admin.display(description="")
    def live(self, device: Any) -> str:
        return format_html('<a href="{}">Live</a>', device.get_absolute_url())

    def get_fields(self, request: HttpRequest, obj: Device | None = None) -> Any:
        return self.fields if obj else self.new_fields

    def get_readonly_fields(self, request: HttpRequest, obj: Device | None = None) -> Any:
        # The device id cannot be changed, because every reading of the device contains it.
        return ("device_id", *self.readonly_fields) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False

    def get_form(self, request: HttpRequest, obj: Device | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        if "device_id" in form.base_fields:
            form.base_fields["device_id"].help_text = DEVICE_ID_HELP
        user: Any = request.user
        form.viewer = viewer = viewer_of(user)
        form.may_add_tags = user.has_perm(ADD_TAGS) and viewer.limit is None
        return form

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:
        if change:
            # Saves only changed fields, because the key may have been rotated since the form was opened.
            obj.save(update_fields=[name for name in form.changed_data if name != "tag_names"])
            if "tag_names" in form.changed_data:
                self.save_tags(request, obj, form.cleaned_data["tag_names"])
            return
        names = ("device_id", "name", "report_interval", "location", "latitude", "longitude", "notes")
        device, key = Device.objects.register(**{name: getattr(obj, name) for name in names})
        obj.__dict__.update(device.__dict__)
        self.save_tags(request, obj, form.cleaned_data["tag_names"])
        request.new_api_key = key  # type: ignore[attr-defined]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        # No buttons that skip the next page, because it shows the key.
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, (extra_context or {}) | buttons)

    def response_add(self, request: HttpRequest, obj: Device, post_url_continue: str | None = None) -> Any:
        """Leads to the page with the key, whichever button was used."""
        # Django calls this in the transaction that registers the device.
        key = request.new_api_key  # type: ignore[attr-defined]
        return new_keys.keep(request, [(obj.device_id, key)], now=timezone.now())

    @admin.action(description="Export as CSV", permissions=["view"])
    def export(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse:
        """Exports the chosen devices with their status and, if the account may view readings, their latest values."""
        chosen: list[Any] = list(devices.order_by("device_id")[:EXPORTED_AT_ONCE])
        latest: list[dict[str, float]] = [{}] * len(chosen)
        metrics: list[str] = []
        if may_view_readings(request):
            latest = [device.state.latest_metrics() for device in chosen]
            metrics = [*COLUMNS, *sorted({name for values in latest for name in values}.difference(COLUMNS))]
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="devices-{timezone.now():%Y-%m-%d}.csv"'
        writer = csv.writer(response)
        places = ("tags", "location", "latitude", "longitude")
        writer.writerow(["device_id", "name", *places, "status", "active", "last_seen_at", "readings", *metrics])
        for device, values in zip(chosen, latest, strict=True):
            seen = device.state.last_seen_at
            tags = harmless(";".join(tag.name for tag in device.tags.all()))
            place = [tags, harmless(device.location), device.latitude, device.longitude]
            known = [device.device_id, harmless(device.name), *place, device.status, device.is_active]
            numbers = [rfc3339(seen) if seen else "", device.state.last_seq]
            writer.writerow([*known, *numbers, *(values.get(name, "") for name in metrics)])
        return response


def latest_text(catalogue: Catalogue, name: str, value: float) -> tuple[str, str, str]:
    """The number, its unit or else the metric's label, and both with the label."""
    number, unit, label = shown(value, catalogue.of(name).decimals), catalogue.of(name).unit, catalogue.label(name)
    return number, unit or label, f"{label}: {number} {unit}" if unit else f"{number} {label}"


class TagForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """The form of a tag. A name that another tag has is an error of the field."""

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if Tag.objects.filter(key=key_of(name)).exclude(pk=self.instance.pk).exists():
            raise ValidationError(f"There is already a tag “{name}”.", code="tag_taken")
        if self.instance.pk is None and Tag.objects.count() >= TAGS_MAX:
            raise ValidationError(f"There may be {TAGS_MAX:,} tags.", code="too_many_tags")
        return name


@admin.register(Tag)
class TagAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Tags with their numbers of devices. `devices.tags.tagging` changes them and writes the list of changes."""

    form = TagForm
    list_display = ("label", "device_count", "created")
    fields = ("name", "colour")
    search_fields = ("name",)
    ordering = ("key",)
    show_full_result_count = False
    list_per_page = 200

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tag]:
        return Tag.objects.with_counts(viewer_of(request.user))

    @admin.display(description="tag", ordering="key")
    def label(self, tag: Tag) -> str:
        return chip(tag)

    @admin.display(description="devices", ordering="device_count")
    def device_count(self, tag: Any) -> str:
        address = f"{reverse('admin:devices_device_changelist')}?{urlencode({'tag': tag.name})}"
        return format_html('<a href="{}">{}</a>', address, tag.device_count)

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, tag: Tag) -> str:
        return f"{tag.created_at:%Y-%m-%d %H:%M:%S}"

    def save_model(self, request: HttpRequest, obj: Tag, form: Any, change: bool) -> None:
        wanted = form.cleaned_data
        if change:
            tag = Tag.objects.select_for_update(no_key=True).get(pk=obj.pk)
            change_tag(tag, name=wanted["name"], colour=wanted["colour"], by=account(request.user))
        else:
            tag = create_tag(wanted["name"], colour=wanted["colour"], by=account(request.user))
        obj.__dict__.update(tag.__dict__)

    def delete_model(self, request: HttpRequest, obj: Tag) -> None:
        delete_tag(obj, by=account(request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Tag]) -> None:
        for tag in Tag.objects.filter(pk__in=queryset.values("pk")).order_by("key"):
            self.delete_model(request, tag)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The tags with their numbers of devices, and what needs them: then Django's page refuses."""
        tags: list[Any] = list(Tag.objects.with_counts().filter(pk__in=[tag.pk for tag in objs]).by_name())
        listed = [f"Tag: {tag.name}, of {counted(tag.device_count, 'device', 'devices')}" for tag in tags]
        needed_by = [f"{tag.name}: {use}" for tag in tags for user in users for use in user(tag)]
        return listed, {"tags": len(tags)}, set(), needed_by

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except TagInUse as error:  # since the page was shown
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:devices_tag_changelist"))

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """`devices.tags.tagging` has logged it, here and below."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        pass

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:  # type: ignore[override]
        pass


def may_view_readings(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm(VIEW_READINGS))
