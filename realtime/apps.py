from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    name = "realtime"

    def ready(self) -> None:
        from django.conf import settings

        from realtime.announcing import alarms, receivers  # noqa: F401  connects the signal receivers

        if settings.REDIS_URL:
            # Now, because the first readings would wait for it. Without Redis it would take 19 MB in vain.
            from realtime.announcing import redis_layer  # noqa: F401
