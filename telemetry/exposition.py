"""`GET /metrics`: what this process has counted, for Prometheus."""

import os
import socket
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Info, generate_latest
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from devices.callers import Caller, Role
from readings.lag import ClockAhead, RollupLag

# Each process answers for itself. Where one address leads to several, this tells which has answered.
PROCESS = Info("telemetry_process", "The process that these figures are of.")
PROCESS.info({"host": socket.gethostname(), "pid": str(os.getpid())})
REGISTRY.register(RollupLag())
REGISTRY.register(ClockAhead())


class AdministratorOnly(BasePermission):
    """The administrator's key, or any signed-in staff account: figures name no device."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller) or caller.role is not Role.ADMIN:
            return False
        return caller.user is None or caller.user.is_staff


@extend_schema(exclude=True)
class MetricsView(APIView):
    permission_classes = [AdministratorOnly]

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
