"""Doors: other protocols (InfluxDB, ThingsBoard, LoRaWAN webhooks, MQTT), translated to readings of the one write path.

`/ingest` is strict; a door translates names, values and times, and says what it skipped. May import ingest and the log.
"""
