"""Prometheus gauges read from the database: open alarms, readings that were not judged yet, and messages."""

import logging
from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError
from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from readings.alarms.evaluation import positions
from readings.alarms.evaluation.active_rules import load_rules
from readings.alarms.models import Alarm, Delivery, DeliveryState, Severity

logger = logging.getLogger(__name__)


def waiting() -> int:
    """The number of readings that active rules have not judged yet."""
    rules = load_rules()
    return positions.waiting(rules.watched) if rules.of_readings else 0


def open_by_severity() -> dict[str, int]:
    counted = Alarm.objects.open().order_by().values_list("rule__severity").annotate(Count("pk"))
    return dict.fromkeys(Severity.values, 0) | dict(counted)


def messages_by_state() -> dict[str, int]:
    counted = Delivery.objects.order_by().values_list("state").annotate(Count("pk"))
    return dict.fromkeys(DeliveryState.values, 0) | dict(counted)


class Alarms(Collector):
    """Read from the database, because another process may evaluate. Absent if the database is unreachable."""

    def families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily("telemetry_alarms_open", "Open alarms, by severity.", labels=["severity"]),
            GaugeMetricFamily("telemetry_alarms_lag_readings", "Readings that active rules have not judged yet."),
            GaugeMetricFamily(
                "telemetry_alarms_messages",
                "Messages for a channel in the outbox, which keeps the latest 10,000 finished messages.",
                labels=["state"],
            ),
        )

    def describe(self) -> Iterable[Metric]:
        return self.families()

    def collect(self) -> Iterable[Metric]:
        opened, lag, messages = self.families()
        try:
            for severity, count in open_by_severity().items():
                opened.add_metric([severity], count)
            lag.add_metric([], waiting())
            for state, count in messages_by_state().items():
                messages.add_metric([state], count)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Metrics: cannot read alarms from the database (%s)", str(error).strip())
            return ()
        return opened, lag, messages
