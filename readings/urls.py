from django.urls import path

from devices.api import converters  # noqa: F401  registers <device_id:…>
from readings.history.views import DeviceReadingsViewSet
from readings.ingest.views import IngestViewSet

device = "devices/<device_id:device_id>"

urlpatterns = [
    path("ingest", IngestViewSet.as_view({"post": "create"}), name="ingest"),
    path("ingest/batch", IngestViewSet.as_view({"post": "batch"}), name="ingest-batch"),
    path(f"{device}/history", DeviceReadingsViewSet.as_view({"get": "history"}), name="device-history"),
    path(f"{device}/aggregate", DeviceReadingsViewSet.as_view({"get": "aggregate"}), name="device-aggregate"),
    path(f"{device}/latest", DeviceReadingsViewSet.as_view({"get": "latest"}), name="device-latest"),
]
