from django.urls import path, register_converter
from django.urls.converters import StringConverter

from devices.api import converters  # noqa: F401  registers <device_id:…>
from devices.metrics import METRIC_NAME
from readings.catalogue.views import MetricViewSet
from readings.history.fleet_views import FleetReadingsViewSet
from readings.history.views import DeviceReadingsViewSet
from readings.ingest.views import IngestViewSet


class MetricNameConverter(StringConverter):
    """`<metric_name:metric_name>` in a path. A text that is not a valid name does not match (404)."""

    regex = METRIC_NAME.pattern


register_converter(MetricNameConverter, "metric_name")
device = "devices/<device_id:device_id>"

urlpatterns = [
    path("ingest", IngestViewSet.as_view({"post": "create"}), name="ingest"),
    path("ingest/batch", IngestViewSet.as_view({"post": "batch"}), name="ingest-batch"),
    path(f"{device}/history", DeviceReadingsViewSet.as_view({"get": "history"}), name="device-history"),
    path(f"{device}/aggregate", DeviceReadingsViewSet.as_view({"get": "aggregate"}), name="device-aggregate"),
    path(f"{device}/latest", DeviceReadingsViewSet.as_view({"get": "latest"}), name="device-latest"),
    path("aggregate", FleetReadingsViewSet.as_view({"get": "aggregate"}), name="aggregate"),
    path("history", FleetReadingsViewSet.as_view({"get": "history"}), name="history"),
    path("metrics", MetricViewSet.as_view({"get": "metrics"}), name="metric-list"),
    path("metrics/<metric_name:metric_name>", MetricViewSet.as_view({"patch": "partial_update"}), name="metric-detail"),
]
