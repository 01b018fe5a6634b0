"""How far rollups lag behind the logs: for `/metrics`."""

import logging
from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from readings.rollups import waiting

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
