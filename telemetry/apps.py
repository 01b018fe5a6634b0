from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import post_migrate


class TelemetryConfig(AppConfig):
    name = "telemetry"
    default = True

    def ready(self) -> None:
        from django.conf import settings

        from telemetry.configuration import checks  # noqa: F401  registers the system checks
        from telemetry.configuration.private_files import tighten

        tighten(settings.ENV_FILE)


class ConsoleConfig(admin_apps.AdminConfig):
    """Django's admin with our site. It must be the last app, because its roles need the permissions of all others."""

    default = False
    default_site = "telemetry.console.site.Console"

    def ready(self) -> None:
        from telemetry.console.roles import make_roles

        super().ready()
        post_migrate.connect(make_roles, sender=self)
