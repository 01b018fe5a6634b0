from django.apps import AppConfig


class AlarmsConfig(AppConfig):
    name = "readings.alarms"
    label = "alarms"

    def ready(self) -> None:
        from devices.tags.tagging import also_retags, also_uses_tags
        from readings.alarms.evaluation.active_rules import watched_devices
        from readings.alarms.rules.retagging import follow_tags, rules_naming
        from readings.alarms.upkeep.erasure import forget
        from readings.upkeep.erasure import also_erases
        from readings.upkeep.sealing.candidates import also_watches

        also_erases(forget)
        also_watches(watched_devices)
        also_retags(follow_tags)
        also_uses_tags(rules_naming)
