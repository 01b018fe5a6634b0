from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"

    def ready(self) -> None:
        from devices.tags.tagging import also_uses_tags
        from devices.tokens.making import limited_to

        also_uses_tags(limited_to)
