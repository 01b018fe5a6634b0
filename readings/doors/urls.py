"""The addresses of the doors over HTTP. Those of InfluxDB begin at the root, because clients cannot change them."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from readings.doors.influx.views import InfluxV1ViewSet, InfluxViewSet, PingViewSet
from readings.doors.lorawan import LoRaWANViewSet
from readings.doors.thingsboard import ThingsBoardViewSet


class KeyConverter(StringConverter):
    """A key in an address. Keys have 16 characters or more, the names of our other addresses less."""

    regex = "[^/]{16,256}"


register_converter(KeyConverter, "key")

urlpatterns = [
    path("api/v2/write", InfluxViewSet.as_view({"post": "write"}), name="influx-write"),
    path("write", InfluxV1ViewSet.as_view({"post": "write"}), name="influx-write-v1"),
    path("query", InfluxV1ViewSet.as_view({"post": "query"}), name="influx-query"),
    path("api/v1/doors/ttn", LoRaWANViewSet.as_view({"post": "ttn"}), name="lorawan-ttn"),
    path("api/v1/doors/chirpstack", LoRaWANViewSet.as_view({"post": "chirpstack"}), name="lorawan-chirpstack"),
    path("api/v1/<key:key>/telemetry", ThingsBoardViewSet.as_view({"post": "telemetry"}), name="thingsboard"),
    path(
        "api/v1/<key:key>/attributes",
        ThingsBoardViewSet.as_view({"post": "attributes"}),
        name="thingsboard-attributes",
    ),
    path("ping", PingViewSet.as_view({"get": "ping"}), name="influx-ping"),
]
