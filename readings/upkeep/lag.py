"""How far rollups lag behind the logs, and the clock is off: for `/metrics`, asked of the database."""

import logging
from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from readings.upkeep.rollups import waiting
from readings.upkeep.rounds import last_round

logger = logging.getLogger(__name__)


class RollupLag(Collector):
    """Asked of the database each time, since whoever maintains may be another process. Absent while that is away."""

    name = "telemetry_rollup_lag_readings"
    text = "Readings that are in no rollup of hours yet, over all devices."

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self.name, self.text)]

    def collect(self) -> Iterable[Metric]:
        try:
            yield GaugeMetricFamily(self.name, self.text, value=waiting())
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Metrics: the database does not say how far rollups lag (%s)", str(error).strip())


class ClockAhead(Collector):
    """As the last round of maintenance noted it, which may have been another process's."""

    name = "telemetry_retention_clock_ahead_seconds"
    text = "How far the clock is ahead of the time that retention goes by; negative: behind, 0: retention trusts it."

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self.name, self.text)]

    def collect(self) -> Iterable[Metric]:
        try:
            last = last_round()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Metrics: the database does not say how the clock is (%s)", str(error).strip())
        else:
            yield GaugeMetricFamily(self.name, self.text, value=last.clock_ahead.total_seconds() if last else 0)
