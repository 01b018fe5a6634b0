"""The newest value of each metric in the device's state, filled from the readings that there are.

What is in the rollups is looked up by each metric's last hour; only what is not rolled up yet is read reading by
reading. A metric whose readings retention has deleted gets the average of its last hour, dated by that hour, with the
`seq` 0.
"""

from typing import Any

from django.db import migrations, models

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
    UNION ALL
    SELECT state.device_id, entry.key, {MICROSECONDS.format("timestamp")}, seq, entry.value
    FROM devices_devicestate AS state CROSS JOIN readings_reading AS reading
    CROSS JOIN json_each(json_patch(
        json_object('temperature', temperature, 'humidity', humidity, 'voltage', voltage), extra
    )) AS entry
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
), documents AS (
    SELECT device_id, json_group_object(metric, json_array(value, at, seq)) AS latest FROM newest GROUP BY 1
)
UPDATE devices_devicestate
SET latest = (SELECT latest FROM documents WHERE documents.device_id = devices_devicestate.device_id),
    names_seq = last_seq,
    latest_id = (SELECT id FROM readings_reading AS reading
                 WHERE reading.device_id = devices_devicestate.device_id AND seq = latest_seq)
WHERE device_id IN (SELECT device_id FROM documents)
"""  # noqa: S608


def fill(apps: Any, editor: Any) -> None:
    statement = POSTGRESQL if editor.connection.vendor == "postgresql" else SQLITE
    with editor.connection.cursor() as cursor:
        cursor.execute(statement)  # without parameters, so that % stands for itself


class Migration(migrations.Migration):
    dependencies = [("devices", "0002_rollup_positions_and_retention"), ("readings", "0005_maintenance_rounds")]

    operations = [
        migrations.AddField("devicestate", "latest_id", models.UUIDField(null=True)),
        migrations.AddField("devicestate", "latest", models.TextField(default="{}")),
        migrations.AddField("devicestate", "names_seq", models.BigIntegerField(default=0)),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
