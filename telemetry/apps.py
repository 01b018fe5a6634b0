import sys

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import post_migrate

# Commands without pages. To import all pages would take 6 MB, and 8 MB more for DRF's serializers.
WITHOUT_PAGES = ("maintain", "mqtt")


class TelemetryConfig(AppConfig):
    name = "telemetry"
    default = True

    def ready(self) -> None:
        from django.conf import settings

        from telemetry.configuration import checks  # noqa: F401  registers the system checks
        from telemetry.configuration.private_files import tighten

        tighten(settings.ENV_FILE)


class ConsoleConfig(admin_apps.SimpleAdminConfig):
    """Django's admin with our site. It must be the last app, because its roles need the permissions of all others."""

    default = False
    default_site = "telemetry.console.site.Console"

    def ready(self) -> None:
        from django.contrib import admin

        from telemetry.console.roles import make_roles

        super().ready()
        if not sys.argv[1:] or sys.argv[1] not in WITHOUT_PAGES:
            admin.autodiscover()
        post_migrate.connect(make_roles, sender=self)
