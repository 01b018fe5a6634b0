"""The newest value of each metric in the device's state, filled from the readings that there are.

What is in the rollups is looked up by each metric's last hour; only what is not rolled up yet is read reading by
reading. A metric whose readings retention has deleted gets the average of its last hour, dated by that hour, with the
`seq` 0.
"""

import json
from typing import Any

from django.db import migrations, models

from devices.database.reversible import KeepValues

# By (timestamp, seq) the last reading of each metric: `last_hour` is where the rollups have it, `tail` where it is not
# rolled up yet.
POSTGRESQL = """
WITH last_hour AS (
    SELECT device_id, metric, max(start) AS start FROM readings_rollup WHERE seconds = 3600 GROUP BY 1, 2
), tail AS (
    SELECT device_id, metric, max(ARRAY[round(date_part('epoch', timestamp) * 1000000)::bigint, seq]) AS place
    FROM (
        SELECT reading.device_id, timestamp, seq, unnest(
            CASE WHEN temperature IS NULL THEN '{}'::text[] ELSE '{temperature}' END
            || CASE WHEN humidity IS NULL THEN '{}'::text[] ELSE '{humidity}' END
            || CASE WHEN voltage IS NULL THEN '{}'::text[] ELSE '{voltage}' END
            || CASE WHEN extra = '{}' THEN '{}'::text[] ELSE ARRAY(SELECT jsonb_object_keys(extra)) END
        ) AS metric
        FROM devices_devicestate AS state
        JOIN readings_reading AS reading ON reading.device_id = state.device_id AND reading.seq > state.rolled_up_seq
    ) AS entry
    GROUP BY 1, 2
), places AS (
    SELECT last_hour.device_id, metric, kept.seq
    FROM last_hour CROSS JOIN LATERAL (
        SELECT seq FROM readings_reading
        WHERE device_id = last_hour.device_id AND timestamp >= last_hour.start
          AND timestamp < last_hour.start + interval '1 hour'
          AND CASE metric WHEN 'temperature' THEN temperature IS NOT NULL WHEN 'humidity' THEN humidity IS NOT NULL
                          WHEN 'voltage' THEN voltage IS NOT NULL ELSE extra ? metric END
        ORDER BY timestamp DESC, seq DESC LIMIT 1
    ) AS kept
    UNION ALL
    SELECT device_id, metric, place[2] FROM tail
), found AS (
    SELECT device_id, metric, round(date_part('epoch', timestamp) * 1000000)::bigint AS at, seq,
           CASE metric WHEN 'temperature' THEN to_jsonb(temperature) WHEN 'humidity' THEN to_jsonb(humidity)
                       WHEN 'voltage' THEN to_jsonb(voltage) ELSE extra->metric END AS value
    FROM places JOIN readings_reading USING (device_id, seq)
    UNION ALL
    SELECT device_id, metric, round(date_part('epoch', start) * 1000000)::bigint, 0, to_jsonb(sum / count)
    FROM last_hour JOIN readings_rollup USING (device_id, metric, start)
    WHERE seconds = 3600
), newest AS (
    SELECT DISTINCT ON (device_id, metric) * FROM found ORDER BY device_id, metric, at DESC, seq DESC
), documents AS (
    SELECT device_id, json_object_agg(metric, json_build_array(value, at, seq))::text AS latest FROM newest GROUP BY 1
)
UPDATE devices_devicestate AS state
SET latest = documents.latest, names_seq = state.last_seq,
    latest_id = (SELECT id FROM readings_reading WHERE device_id = state.device_id AND seq = state.latest_seq)
FROM documents WHERE documents.device_id = state.device_id
"""

MICROSECONDS = (
    "CAST(strftime('%s', substr({0}, 1, 19)) AS INTEGER) * 1000000 "
    "+ CAST(substr(substr({0}, 21) || '000000', 1, 6) AS INTEGER)"
)
COLUMNS = ("temperature", "humidity", "voltage")
UNROLLED = "devices_devicestate AS state CROSS JOIN readings_reading AS reading"
OF_COLUMN = f"""
    UNION ALL
    SELECT state.device_id, '{{0}}', {MICROSECONDS.format("timestamp")}, seq, {{0}}
    FROM {UNROLLED} WHERE reading.device_id = state.device_id AND seq > state.rolled_up_seq
"""  # noqa: S608
# The values are taken from the readings' own rows and written by Python: SQLite's JSON functions write 15 digits of a
# number, and a double needs up to 17.
SQLITE = f"""
WITH last_hour AS (
    SELECT device_id, metric, max(start) AS start FROM readings_rollup WHERE seconds = 3600 GROUP BY 1, 2
), found AS (
    SELECT last_hour.device_id, metric, {MICROSECONDS.format("timestamp")} AS at, seq,
           CASE metric WHEN 'temperature' THEN temperature WHEN 'humidity' THEN humidity WHEN 'voltage' THEN voltage
                       ELSE json_extract(extra, '$.' || metric) END AS value
    FROM last_hour CROSS JOIN readings_reading AS reading
    WHERE reading.device_id = last_hour.device_id AND timestamp >= last_hour.start
      AND timestamp < datetime(last_hour.start, '+1 hour')
    {"".join(OF_COLUMN.format(name) for name in COLUMNS)}
    UNION ALL
    SELECT state.device_id, entry.key, {MICROSECONDS.format("timestamp")}, seq, entry.value
    FROM {UNROLLED} CROSS JOIN json_each(extra) AS entry
    WHERE reading.device_id = state.device_id AND seq > state.rolled_up_seq
    UNION ALL
    SELECT rollup.device_id, rollup.metric, {MICROSECONDS.format("rollup.start")}, 0, sum / count
    FROM last_hour CROSS JOIN readings_rollup AS rollup
    WHERE rollup.device_id = last_hour.device_id AND rollup.metric = last_hour.metric
      AND rollup.start = last_hour.start AND rollup.seconds = 3600
), newest AS (
    -- SQLite takes the other columns from the row that has the maximum.
    SELECT device_id, metric, at, seq, value, max(printf('%020d %020d', at, seq)) AS place
    FROM found WHERE value IS NOT NULL GROUP BY 1, 2
)
SELECT newest.device_id, metric, at, newest.seq, value, {", ".join(COLUMNS)}, extra
FROM newest LEFT JOIN readings_reading AS reading
  ON reading.device_id = newest.device_id AND reading.seq = newest.seq
"""  # noqa: S608
SQLITE_UPDATE = """
UPDATE devices_devicestate
SET latest = %s, names_seq = last_seq,
    latest_id = (SELECT id FROM readings_reading AS reading
                 WHERE reading.device_id = devices_devicestate.device_id AND seq = latest_seq)
WHERE device_id = %s
"""


def fill(apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        if editor.connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL)  # without parameters, so that % stands for itself
            return
        cursor.execute(SQLITE)
        documents: dict[str, dict[str, list[Any]]] = {}
        for device_id, metric, at, seq, average, *columns, extra in cursor.fetchall():
            stored = dict(zip(COLUMNS, columns, strict=True)) | json.loads(extra or "{}")
            documents.setdefault(device_id, {})[metric] = [stored[metric] if seq else average, at, seq]
        cursor.executemany(SQLITE_UPDATE, [(json.dumps(latest), name) for name, latest in documents.items()])


HOUR_MICROSECONDS = 3_600_000_000


class KeepLatest(KeepValues):
    """Keeps the latest values. Where a log has grown meanwhile, only those of which no more than their hour is left."""

    def restore(self, model: Any, editor: Any) -> None:
        super().restore(model, editor)
        with editor.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT device_id, kept.latest, state.latest FROM {self.table} AS kept "  # noqa: S608
                "JOIN devices_devicestate AS state USING (device_id) WHERE kept.latest <> state.latest"
            )
            for device_id, kept, latest in cursor.fetchall():
                cursor.execute(
                    "UPDATE devices_devicestate SET latest = %s WHERE device_id = %s",
                    [better(json.loads(kept), json.loads(latest)), device_id],
                )


def better(kept: dict[str, list[Any]], latest: dict[str, list[Any]]) -> str:
    """`latest` with the kept value in place of the average (`seq` 0) of the hour in which it was measured."""
    for metric, (_, hour, seq) in latest.items():
        if seq == 0 and metric in kept and hour <= kept[metric][1] < hour + HOUR_MICROSECONDS:
            latest[metric] = kept[metric]
    return json.dumps(latest)


class Migration(migrations.Migration):
    dependencies = [("devices", "0002_rollup_positions_and_retention"), ("readings", "0005_maintenance_rounds")]

    operations = [
        migrations.AddField("devicestate", "latest_id", models.UUIDField(null=True)),
        migrations.AddField("devicestate", "latest", models.TextField(default="{}")),
        migrations.AddField("devicestate", "names_seq", models.BigIntegerField(default=0)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        KeepLatest(
            "devicestate",
            ["latest", "latest_id", "names_seq"],
            table="devices_devicestate_kept_0003",
            unchanged=["last_seq", "latest_seq"],
        ),
    ]
