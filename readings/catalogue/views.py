"""The endpoints of the catalogue of metrics."""

from typing import Any

from django.db import transaction
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import CallerPermission
from devices.api.openapi import JSON, STRING, Schema, array, record
from devices.changes.log import author, log_changed, values_of
from devices.metrics import METRIC_NAME, label_of
from readings.catalogue.serializers import MetricChangesSerializer
from readings.models import Metric

NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
METRIC = record(
    {
        "name": STRING,
        "label": STRING | {"description": "What people call it; the name with spaces, if it has no label of its own."},
        "unit": STRING | {"description": "Empty: it has no unit, or nobody has told it."},
        "decimals": {"type": ["integer", "null"], "description": "How many are shown; null: as many as needed."},
        "order": {"type": "integer", "description": "Metrics with a smaller number come first."},
        "low": NUMBER_OR_NULL | {"description": "The lowest plausible value."},
        "high": NUMBER_OR_NULL | {"description": "The highest plausible value."},
    }
)
NAME = OpenApiParameter("metric_name", {"type": "string", "pattern": f"^{METRIC_NAME.pattern}$"}, OpenApiParameter.PATH)


def metric_document(metric: Metric) -> dict[str, Any]:
    names = ("name", "label", "unit", "decimals", "order", "low", "high")
    return {name: getattr(metric, name) for name in names} | {"label": metric.label or label_of(metric.name)}


class MetricViewSet(GenericViewSet[Metric]):
    permission_classes = [CallerPermission]
    queryset = Metric.objects.all()
    lookup_field = "name"
    lookup_url_kwarg = "metric_name"
    admin_permissions = {"metrics": "readings.view_metric", "partial_update": "readings.change_metric"}
    open_to: dict[str, tuple[Role, ...]] = {}
    fleet_wide = ("partial_update",)

    @extend_schema(
        operation_id="metric_list",
        summary="List metrics",
        responses={(200, JSON): record({"results": array(METRIC), "next": {"type": "null"}})},
    )
    def metrics(self, request: Request) -> Response:
        """The catalogue in its order: common metrics, and each that a device has sent. One page of at most 2,000."""
        metrics = Metric.objects.visible_to(caller_of(request)).in_order()
        return Response({"results": [metric_document(metric) for metric in metrics], "next": None})

    @extend_schema(
        operation_id="metric_change",
        summary="Describe a metric",
        parameters=[NAME],
        request=MetricChangesSerializer,
        responses={(200, JSON): METRIC},
    )
    def partial_update(self, request: Request, metric_name: str) -> Response:
        """Changes how people see the metric; readings and alarms stay as they are. Fields not sent stay unchanged."""
        with transaction.atomic():
            metric = self.get_queryset().select_for_update(no_key=True).filter(name=metric_name).first()
            if metric is None:
                raise NotFound
            changes = MetricChangesSerializer(metric, data=request.data, partial=True)
            changes.is_valid(raise_exception=True)
            changes.save()
            after = values_of(metric, changes.changed)
            log_changed([metric], changes.changed, by=author(caller_of(request)), before=changes.before, after=after)
        return Response(metric_document(metric))
