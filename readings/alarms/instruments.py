"""Prometheus metrics about alarms, exported by `telemetry.monitoring.prometheus`."""

from prometheus_client import Counter, Gauge

JUDGED = Counter("telemetry_alarms_judged_readings_total", "Readings that this process judged by rules.")
OPENED = Counter("telemetry_alarms_opened_total", "Alarms that this process opened.")
RESOLVED = Counter("telemetry_alarms_resolved_total", "Alarms that the evaluation in this process resolved.")
EVALUATED = Gauge(
    "telemetry_alarms_last_evaluation_timestamp_seconds", "When this process last finished an evaluation; 0: never."
)
FAILED_EVALUATIONS = Counter(
    "telemetry_alarms_failed_evaluations_total", "Evaluations that ended with an error. The next one tries again."
)
FAILED_DEVICES = Counter(
    "telemetry_alarms_failed_devices_total", "How often a device was left out of the evaluation because of an error."
)
FAILED_RULES = Counter(
    "telemetry_alarms_failed_rules_total", "How often a rule could not judge readings of a device, and left them out."
)
TRIES = Counter(
    "telemetry_alarms_message_tries_total", "Tries of this process to send a message, by their result.", ["result"]
)
for result in ("delivered", "failed"):
    TRIES.labels(result)
GIVEN_UP = Counter("telemetry_alarms_messages_given_up_total", "Messages that this process gave up for a channel.")
FAILED_ROUNDS = Counter(
    "telemetry_alarms_failed_delivery_rounds_total",
    "Rounds of delivery that ended with an error. The next one goes on.",
)
