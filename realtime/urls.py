from django.urls import path

from devices import paths  # noqa: F401  registers <device_id:…>
from realtime.views import device_page

urlpatterns = [path("<device_id:device_id>/", device_page, name="live-device")]
