"""`GET /metrics`: the metrics of this process for Prometheus."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from devices.access.callers import Caller
from readings.alarms.evaluation.lag import Alarms
from readings.upkeep.lag import ClockAhead, RollupLag

REGISTRY.register(RollupLag())
REGISTRY.register(ClockAhead())
REGISTRY.register(Alarms())


# The permission for the state of the server itself; docs/decisions/0033-limit-each-permission-to-what-it-names.md
METRICS_PERMISSION = "readings.view_maintenanceround"


class MetricsPermission(BasePermission):
    """The administrator's key, or a signed-in account with METRICS_PERMISSION."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, Caller) and request.auth.may(METRICS_PERMISSION)


@extend_schema(exclude=True)
class MetricsView(APIView):
    permission_classes = [MetricsPermission]

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
