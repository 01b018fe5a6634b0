from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ReadingsConfig(AppConfig):
    name = "readings"

    def ready(self) -> None:
        from readings.catalogue.names import add_common

        post_migrate.connect(add_common, sender=self)
