"""The secret key for the ids of readings that were sent without one (`readings.log.ids.ServerIds`).

It is in the database, not in the settings, because the ids of sealed readings can only be computed with it: it is
copied and restored with them, and does not change when SECRET_KEY does.
"""

import secrets
from functools import cache
from typing import Any

from django.apps.registry import Apps
from django.apps.registry import apps as installed

from readings.models import IdKey

KEY_BYTES = 32


@cache
def id_key() -> bytes:
    """The key of this database. Raises DatabaseError, and IdKey.DoesNotExist where `migrate` did not run."""
    return bytes(IdKey.objects.get().key)


def make_id_key(*, apps: Apps = installed, **_: Any) -> None:
    """Makes the key, if there is none, after each `migrate` and `flush`."""
    id_key.cache_clear()
    try:
        model = apps.get_model("readings", "IdKey")
    except LookupError:  # migrated back
        return
    model.objects.get_or_create(pk=1, defaults={"key": secrets.token_bytes(KEY_BYTES)})
