from django.urls import path

from devices import paths  # noqa: F401  registers <device_id:…>
from realtime.views import device_page, fleet_page

urlpatterns = [
    path("", fleet_page, name="live-fleet"),
    path("<device_id:device_id>/", device_page, name="live-device"),
]
