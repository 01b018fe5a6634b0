from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    name = "realtime"

    def ready(self) -> None:
        from realtime.announcing import alarms, receivers  # noqa: F401  connects the signal receivers
