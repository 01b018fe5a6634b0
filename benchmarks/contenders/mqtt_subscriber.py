"""The usual way: a broker, and a paho-mqtt subscriber that inserts each message into a PostgreSQL table.

python -m benchmarks.contenders.mqtt_subscriber PORT DATABASE
"""

import json
import sys
from typing import Any

import psycopg
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

TABLE = """
CREATE TABLE IF NOT EXISTS reading (
    id bigserial PRIMARY KEY, device_id text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
    temperature float8, humidity float8, voltage float8, extra jsonb
);
CREATE INDEX IF NOT EXISTS reading_device_at ON reading (device_id, at);
"""
INSERT = "INSERT INTO reading (device_id, temperature, humidity, voltage, extra) VALUES (%s, %s, %s, %s, %s)"


def main() -> None:
    port, database = sys.argv[1:]
    with psycopg.connect(f"host=127.0.0.1 user=postgres dbname={database}", autocommit=True) as connection:
        connection.execute(TABLE)

        def store(_client: Client, _userdata: Any, message: Any) -> None:
            document = json.loads(message.payload)
            values = [document.pop(name, None) for name in ("temperature", "humidity", "voltage")]
            connection.execute(INSERT, [message.topic.split("/")[1], *values, json.dumps(document)])

        client = Client(CallbackAPIVersion.VERSION2, "subscriber", clean_session=False)
        client.on_message = store

        def subscribe(*_: Any) -> None:
            client.subscribe("telemetry/+/readings", qos=1)
            print("subscribed", flush=True)  # noqa: T201

        client.on_connect = subscribe
        client.connect("127.0.0.1", int(port))
        client.loop_forever()


if __name__ == "__main__":
    main()
