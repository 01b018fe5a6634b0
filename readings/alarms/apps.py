from django.apps import AppConfig


class AlarmsConfig(AppConfig):
    name = "readings.alarms"
    label = "alarms"

    def ready(self) -> None:
        from devices.tags.tagging import also_retags, also_uses_tags
        from readings.alarms.rules.retagging import follow_tags, rules_naming
        from readings.alarms.upkeep.erasure import forget
        from readings.upkeep.erasure import also_erases

        also_erases(forget)
        also_retags(follow_tags)
        also_uses_tags(rules_naming)
