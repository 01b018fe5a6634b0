"""Read-only admin pages for readings and refused posts, and the page of the catalogue of metrics.

Pages of readings use no count and no offset, so their cost does not depend on the number of readings.
"""

import re
from typing import Any

import msgspec
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from rest_framework.exceptions import ValidationError

from devices.access.callers import Caller, viewer_of
from devices.admin import DeviceAdmin
from devices.console.read_only import ReadOnlyAdmin
from devices.metrics import shown
from devices.models import Device
from devices.querysets import sees_every_device
from readings.history.parameters import CursorField
from readings.log import reader
from readings.log.entries import StoredReading
from readings.models import Metric, Reading, Rejection

BEYOND = "beyond"
OTHERS_SHOWN = 6  # all of them are on the page of the reading
# The page of a reading is addressed with its place in a log, `mote-1~17`, because devices may share an id.
ADDRESS = re.compile(r"([^~\x00]{1,64})~([1-9][0-9]{0,17})", re.ASCII)

DeviceAdmin.read_catalogue = Metric.objects.catalogue


class LogChangeList(ChangeList):
    """Without a search: the latest reading of each device, by device id. With a device id: its log, newest first.

    `?beyond=` is the position after which the page starts: a device id, or a cursor of the API in the log of a device.
    """

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.beyond = request.GET.get(BEYOND, "")
        super().__init__(request, *args)
        self.params.pop(BEYOND, None)

    def get_filters_params(self, params: Any = None) -> Any:
        lookups = super().get_filters_params(params)
        lookups.pop(BEYOND, None)
        return lookups

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Reading]) -> list[str | Combinable]:
        return ["-timestamp", "-seq"] if self.query else ["device_id"]

    def get_results(self, request: HttpRequest) -> None:
        """Reads through the log's reader; Django's own query set is not evaluated."""
        limit, viewer = self.list_per_page + 1, viewer_of(request.user)
        if self.query and not visible(viewer, self.query.strip()):
            found = []
        elif self.query:
            window = reader.Window(self.query.strip())
            found = reader.page(window, limit=limit, descending=True, beyond=self.position())
        else:
            found = reader.newest_of_each(viewer, after=self.beyond, limit=limit)
        self.result_list = [as_model(reading) for reading in found[: self.list_per_page]]
        self.result_count = len(self.result_list)
        # Equal, so that the search form shows no number of results, because nothing was counted.
        self.full_result_count = self.result_count
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = self.multi_page = False
        self.next_page_query = self.first_page_query = ""
        if len(found) > self.list_per_page:
            last = self.result_list[-1]
            position = CursorField.encode(last.timestamp, last.seq) if self.query else last.device_id
            self.next_page_query = self.get_query_string({BEYOND: position})
        if self.beyond:
            self.first_page_query = self.get_query_string(remove=[BEYOND])

    def url_for_result(self, result: Any) -> str:
        return reverse("admin:readings_reading_change", args=[f"{result.device_id}~{result.seq}"])

    def position(self) -> reader.Position | None:
        """The position in the log of a device after which the page starts; None: its newest reading is the first."""
        try:
            position: reader.Position = CursorField().to_internal_value(self.beyond)
        except ValidationError:
            return None
        return position


def visible(viewer: Caller, device_id: str) -> bool:
    """Whether the viewer may see the device. Without a limit that is no query."""
    return sees_every_device(viewer) or Device.objects.visible_to(viewer).filter(device_id=device_id).exists()


def as_model(reading: StoredReading) -> Reading:
    return Reading(**msgspec.structs.asdict(reading))


@admin.register(Reading)
class ReadingAdmin(ReadOnlyAdmin):
    list_display = ("device_id", "seq", "measured_at", "temperature", "humidity", "voltage", "others")
    # `device_id`, not `device`, because Django would show a link even if the account may not view devices.
    fields = readonly_fields = ("device_id", "seq", "timestamp", "temperature", "humidity", "voltage", "extra")
    sortable_by = ()
    search_fields = ("device_id",)
    search_help_text = "Enter a complete device id to see its log. Leave empty for the latest reading of each device."
    change_list_template = "admin/readings/reading/change_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LogChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Reading], search_term: str
    ) -> tuple[QuerySet[Reading], bool]:
        return queryset, False  # LogChangeList searches

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Reading:
        """Raises Http404 where Django's own page would go elsewhere, with a message that repeats the address."""
        if (address := ADDRESS.fullmatch(object_id)) is None or not visible(viewer_of(request.user), address[1]):
            raise Http404
        device_id, seq = address[1], int(address[2])
        found = reader.logs_after({device_id: seq - 1}, limit=1)
        if not found or found[0].seq != seq:
            raise Http404
        return as_model(found[0])

    @admin.display(description="measured (UTC)")
    def measured_at(self, reading: Reading) -> str:
        return f"{reading.timestamp:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="other metrics")
    def others(self, reading: Reading) -> str:
        texts = [f"{name} {shown(value)}" for name, value in reading.extra.items()]
        more = len(texts) - OTHERS_SHOWN
        return ", ".join(texts[:OTHERS_SHOWN]) + (f", +{more} more" if more > 0 else "")


@admin.register(Metric)
class MetricAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The catalogue. Names come from devices, so none is added or deleted here."""

    heading = "Metrics"
    list_display = ("name", "label", "unit", "decimals", "order", "low", "high")
    fields = ("name", "label", "unit", "decimals", "order", "low", "high")
    readonly_fields = ("name",)
    search_fields = ("name", "label")
    search_help_text = "Part of the name or the label"
    ordering = ("order", "name")
    list_per_page = 100
    actions = None
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Metric | None = None) -> bool:
        return False


@admin.register(Rejection)
class RejectionAdmin(ReadOnlyAdmin):
    """Recent refused posts, also those of unknown senders. Their number is bounded, so counting them is cheap."""

    list_display = ("last", "device_id", "status", "code", "field", "detail", "caller", "key_hint", "address", "count")
    list_display_links = None
    list_filter = ("code",)
    search_fields = ("device_id", "key_hint", "address")
    search_help_text = "Device id, first characters of a key, or address"
    ordering = ("-last_at", "-id")

    @admin.display(ordering="last_at")
    def last(self, rejection: Rejection) -> str:
        return format_html('<time data-ago datetime="{0}">{0}</time>', rejection.last_at.isoformat())
