"""Heartbeats of receiving processes, retention of alarms, and what `erase_device` deletes of them."""
