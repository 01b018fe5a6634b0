from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import models
from django.db.models import Case, Count, DateTimeField, F, Func, Max, Q, UUIDField, Value, When, Window
from django.db.models.functions import RowNumber

from devices.querysets import Viewer, of_visible_devices, sees_every_device

if TYPE_CHECKING:
    from readings.alarms.models import Alarm, Rule  # noqa: F401  named in the base classes


class Before(Func):
    """Compares the row `(opened_at, id)` with a position. Django's own row comparison becomes an OR on SQLite."""

    def __init__(self, opened_at: datetime, pk: UUID) -> None:
        at, last = Value(opened_at, output_field=DateTimeField()), Value(pk, output_field=UUIDField())
        super().__init__(F("opened_at"), F("id"), at, last, output_field=models.BooleanField())

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, Any]:
        parts = [compiler.compile(expression) for expression in self.get_source_expressions()]
        (time, pk, at, last), parameters = zip(*parts, strict=True)
        return f"({time}, {pk}) < ({at}, {last})", tuple(value for part in parameters for value in part)


# The values of `models.Severity`, by rising severity.
SEVERITIES = ("info", "warning", "critical")


def severity_level() -> Case:
    """The place of the severity of an alarm's rule in SEVERITIES, as an expression."""
    return Case(
        *(When(rule__severity=severity, then=Value(level)) for level, severity in enumerate(SEVERITIES)),
        output_field=models.IntegerField(),
    )


class RuleQuerySet(models.QuerySet["Rule"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """The rules that apply to a device that the viewer may see."""
        from readings.alarms.models import RuleDevice

        if sees_every_device(viewer):
            return self
        applied: models.QuerySet[Any] = RuleDevice.objects.filter(of_visible_devices(viewer))
        return self.filter(Q(for_all_devices=True) | Q(pk__in=applied.values("rule_id")))

    def existing(self) -> Self:
        """Rules that were not deleted."""
        return self.filter(deleted_at=None)

    def active(self) -> Self:
        return self.existing().filter(is_active=True)


class AlarmQuerySet(models.QuerySet["Alarm"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """The alarms of devices that the viewer may see."""
        return self.filter(of_visible_devices(viewer))

    def open(self) -> Self:
        return self.filter(resolved_at=None)

    def resolved(self) -> Self:
        return self.filter(resolved_at__isnull=False)

    def opened_in(self, start: datetime | None, end: datetime | None) -> Self:
        """Alarms that opened in `[start, end)`. None leaves this side open."""
        alarms = self
        if start is not None:
            alarms = alarms.filter(opened_at__gte=start)
        if end is not None:
            alarms = alarms.filter(opened_at__lt=end)
        return alarms

    def newest_first(self) -> Self:
        return self.order_by("-opened_at", "-id")

    def newest_of_devices(self, limit: int) -> Self:
        """For each device its newest alarms, at most `limit`, with `of_device`: how many of these alarms it has."""
        newest = (F("opened_at").desc(), F("id").desc())
        return self.annotate(
            place=Window(RowNumber(), partition_by=F("device_id"), order_by=newest),
            of_device=Window(Count("id"), partition_by=F("device_id")),
        ).filter(place__lte=limit)

    def most_severe_first(self) -> Self:
        """The severe ones first, then newest first."""
        return self.order_by(severity_level().desc(), "-opened_at", "-id")

    def by_device(self) -> dict[str, tuple[int, str]]:
        """For each device with such alarms how many there are, and the highest severity. One query."""
        rows = self.order_by().values("device_id").annotate(count=Count("id"), level=Max(severity_level()))
        return {str(row["device_id"]): (row["count"], SEVERITIES[row["level"]]) for row in rows}

    def before(self, opened_at: datetime, pk: UUID) -> Self:
        """Alarms after this position in `newest_first` order."""
        return self.filter(Before(opened_at, pk))
