from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ReadingsConfig(AppConfig):
    name = "readings"

    def ready(self) -> None:
        from readings.catalogue.names import add_common
        from readings.log.id_key import make_id_key

        post_migrate.connect(add_common, sender=self)
        post_migrate.connect(make_id_key, sender=self)
