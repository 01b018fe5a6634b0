"""`GET /metrics`: the metrics of this process for Prometheus."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from devices.access.callers import Caller
from devices.access.permissions import Limited
from readings.alarms.evaluation.lag import Alarms
from readings.upkeep.lag import ClockAhead, RollupLag

REGISTRY.register(RollupLag())
REGISTRY.register(ClockAhead())
REGISTRY.register(Alarms())


# The permission for the state of the server itself; docs/decisions/0033-limit-each-permission-to-what-it-names.md
METRICS_PERMISSION = "readings.view_maintenanceround"


class MetricsPermission(BasePermission):
    """The administrator's key, a token that may read, or an account with METRICS_PERMISSION; none limited to tags."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller) or not caller.may(METRICS_PERMISSION):
            return False
        if caller.limit is not None:
            raise Limited
        return True


@extend_schema(exclude=True)
class MetricsView(APIView):
    permission_classes = [MetricsPermission]

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
