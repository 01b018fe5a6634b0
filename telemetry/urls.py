from django.contrib import admin
from django.contrib.staticfiles.storage import staticfiles_storage
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView

from realtime.pages.explore import explore_devices, explore_page
from realtime.pages.guide import guide_page
from telemetry import health
from telemetry.middleware import problems
from telemetry.monitoring.prometheus import MetricsView
from telemetry.openapi.view import SchemaView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="start"),
    path("favicon.ico", RedirectView.as_view(url=staticfiles_storage.url("realtime/icon.svg")), name="favicon"),
    path("health", health.health, name="health"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("api/v1/health", health.health, name="api-health"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("api/v1/", include("devices.urls")),
    path("api/v1/", include("readings.urls")),
    path("api/v1/", include("readings.alarms.api.urls")),
    path("api/v1/", include("realtime.api_urls")),
    path("", include("readings.doors.urls")),
    path("api/v1/schema", SchemaView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("redoc", SpectacularRedocView.as_view(url_name="schema"), name="redoc"),
    path("live/", include("realtime.urls")),
    path("alarms/", include("realtime.alarm_urls")),
    path("explore/", explore_page, name="explore"),
    path("explore/-/devices", explore_devices, name="explore-devices"),
    path("share/", include("realtime.sharing.urls")),
    path("guide", guide_page, name="guide"),
    path("guide/<slug:page>", guide_page, name="guide"),
    path("admin/", admin.site.urls),
]

handler400 = problems.bad_request
handler403 = problems.permission_denied
handler404 = problems.not_found
handler500 = problems.server_error
