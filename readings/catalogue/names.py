"""Adds names of metrics that are new to the catalogue, and keeps their number bounded.

Upkeep calls it, so that ingest does nothing for it: a device's state says at which entry of its log the set of its
metrics last changed. Where the next roll-up of the device has that entry, it may have new names.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from django.apps import apps as installed
from django.apps.registry import Apps
from django.db import connection

from devices.metrics import PLAIN
from devices.plurals import counted
from readings.common_metrics import COMMON
from readings.models import Metric

logger = logging.getLogger(__name__)

# Every page has the described ones, and `GET /metrics` is one page of all.
METRICS_MAX = 2_000

NOT_IN_THE_CATALOGUE = "NOT EXISTS (SELECT 1 FROM readings_metric AS metric WHERE metric.name = found.name)"
# Of devices whose names changed after their position: the parameter is a JSON array of `device_id` and `after`.
CHANGED = f"""
SELECT DISTINCT name FROM (
    SELECT json_object_keys(state.latest::json) AS name
    FROM json_to_recordset(%s::json) AS range (device_id text, after bigint)
    JOIN devices_devicestate AS state ON state.device_id = range.device_id AND state.names_seq > range.after
) AS found WHERE {NOT_IN_THE_CATALOGUE}
"""  # noqa: S608
CHANGED_SQLITE = f"""
SELECT DISTINCT name FROM (
    SELECT entry.key AS name FROM json_each(%s) AS range
    CROSS JOIN devices_devicestate AS state ON state.device_id = json_extract(range.value, '$.device_id')
        AND state.names_seq > json_extract(range.value, '$.after')
    CROSS JOIN json_each(state.latest) AS entry
) AS found WHERE {NOT_IN_THE_CATALOGUE}
"""  # noqa: S608
IN_USE = "SELECT DISTINCT json_object_keys(latest::json) FROM devices_devicestate"
IN_USE_SQLITE = "SELECT DISTINCT entry.key FROM devices_devicestate CROSS JOIN json_each(latest) AS entry"


def add_changed(ranges: str) -> int:
    """Adds the new names of the devices in `ranges`, JSON as in CHANGED. Returns the number of added names."""
    statement = CHANGED if connection.vendor == "postgresql" else CHANGED_SQLITE
    names = asked(statement, [ranges])
    return add(names) if names else 0


def add_common(apps: Apps = installed, **_: Any) -> None:
    """Adds the common metrics that are missing: at the first start, and after an upgrade that knows more of them."""
    try:
        metric = apps.get_model("readings", "Metric")
    except LookupError:  # migrated back to a state without the catalogue
        return
    rows = (metric(name=name, **msgspec.structs.asdict(description)) for name, description in COMMON.items())
    metric.objects.bulk_create(rows, ignore_conflicts=True)


def remove_undescribed(apps: Apps) -> None:
    """Removes the common metrics and those without a description, as far as nobody has changed them."""
    metrics = apps.get_model("readings", "Metric").objects
    metrics.filter(**msgspec.structs.asdict(PLAIN)).delete()
    for name, description in COMMON.items():
        metrics.filter(name=name, **msgspec.structs.asdict(description)).delete()


def add(names: Iterable[str]) -> int:
    """Adds these names, which are new, in their order, while the catalogue has room. Returns how many were added."""
    room = max(0, METRICS_MAX - Metric.objects.count())
    rows = [Metric(name=name) for name in sorted(names)[:room]]
    Metric.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def make_room() -> Iterator[int]:
    """If the catalogue is full, deletes the names that no device has and nobody has described, and adds others.

    Yields the number of deleted names. Runs seldom, because it looks at the names of every device.
    """
    if Metric.objects.count() < METRICS_MAX:
        return
    in_use = set(asked(IN_USE if connection.vendor == "postgresql" else IN_USE_SQLITE, []))
    plain = set(Metric.objects.plain().values_list("name", flat=True))
    yield Metric.objects.plain().filter(name__in=plain - in_use).delete()[0]
    missing = in_use - set(Metric.objects.values_list("name", flat=True))
    left_out = len(missing) - add(missing)
    if left_out:
        logger.warning(
            "The catalogue has %s metrics, its maximum (the constant METRICS_MAX). %s of devices %s not in it.",
            f"{METRICS_MAX:,}",
            counted(left_out, "name", "names"),
            "is" if left_out == 1 else "are",
        )


def asked(statement: str, parameters: list[Any]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [name for (name,) in cursor.fetchall()]
