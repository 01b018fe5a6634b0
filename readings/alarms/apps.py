from django.apps import AppConfig


class AlarmsConfig(AppConfig):
    name = "readings.alarms"
    label = "alarms"

    def ready(self) -> None:
        from readings.alarms.upkeep.erasure import forget
        from readings.upkeep.erasure import also_erases

        also_erases(forget)
