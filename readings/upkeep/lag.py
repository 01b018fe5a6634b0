"""Prometheus gauges read from the database: lag of the rollups, and deviation of the clock."""

import logging
from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from readings.upkeep.rollups import waiting
from readings.upkeep.rounds import last_round

logger = logging.getLogger(__name__)


class RollupLag(Collector):
    """Read from the database, because maintenance may run in another process. Absent if the database is unreachable."""

    name = "telemetry_rollup_lag_readings"
    text = "Readings of all devices that are not in an hourly rollup yet."

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self.name, self.text)]

    def collect(self) -> Iterable[Metric]:
        try:
            yield GaugeMetricFamily(self.name, self.text, value=waiting())
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Metrics: cannot read the lag of the rollups from the database (%s)", str(error).strip())


class ClockAhead(Collector):
    """As stored by the last round of maintenance, which may have run in another process."""

    name = "telemetry_retention_clock_ahead_seconds"
    text = "How far the clock is ahead of the time that retention uses. Negative: behind. 0: the clock is trusted."

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self.name, self.text)]

    def collect(self) -> Iterable[Metric]:
        try:
            last = last_round()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Metrics: cannot read the deviation of the clock from the database (%s)", str(error).strip())
        else:
            yield GaugeMetricFamily(self.name, self.text, value=last.clock_ahead.total_seconds() if last else 0)
