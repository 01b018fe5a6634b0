"""Django's `loaddata`, which also loads readings."""

from functools import partial
from typing import Any

from django.core.management.commands import loaddata

from readings.models import Reading


class Command(loaddata.Command):
    def save_obj(self, obj: Any) -> bool:
        """Inserts readings. Django would first update the row with this `id`, which may be of another device."""
        if isinstance(obj.object, Reading):
            obj.save = partial(obj.save, force_insert=True)
        return super().save_obj(obj)
