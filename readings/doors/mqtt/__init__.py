"""The MQTT door: a listener that acknowledges a message (PUBACK) after the commit of its readings.

May import ingest, the log and `readings.doors`. `telemetry.server.mqtt` binds the listener to its ports.
"""
