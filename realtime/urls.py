from django.urls import path

from devices.api import converters  # noqa: F401  registers <device_id:…>
from realtime.pages.device import device_page, refused_posts
from realtime.pages.fleet import fleet_page, sparklines
from realtime.pages.tags import tags

urlpatterns = [
    path("", fleet_page, name="live-fleet"),
    path("-/sparklines", sparklines, name="live-sparklines"),  # cannot clash: no device id begins with a hyphen
    path("-/tags", tags, name="live-tags"),
    path("<device_id:device_id>/", device_page, name="live-device"),
    path("<device_id:device_id>/refused/", refused_posts, name="live-refused"),
]
