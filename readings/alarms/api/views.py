from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Caller, Role
from devices.access.permissions import CallerPermission
from devices.api.tag_errors import tag_errors
from devices.api.views import DeviceScope
from devices.changes.log import author
from devices.models import Device
from devices.querysets import of_visible_devices, sees_every_device
from devices.times import rfc3339
from readings.alarms.acknowledging import acknowledge
from readings.alarms.api import openapi
from readings.alarms.api.fields import AlarmCursorField
from readings.alarms.api.serializers import (
    AcknowledgementSerializer,
    AlarmsQuery,
    DeviceAlarmsQuery,
    MuteSerializer,
    PreviewSerializer,
    RuleSerializer,
)
from readings.alarms.delivery.muting import mute_rule
from readings.alarms.documents import alarm_document, rule_document
from readings.alarms.models import Alarm, Rule, RuleChannel, RuleDevice, RuleTag
from readings.alarms.parameters import condition_of
from readings.alarms.preview import preview, previewed_document
from readings.alarms.querysets import AlarmQuerySet, RuleQuerySet
from readings.alarms.rules.changing import RULES_MAX, change_rule, channels_of, create_rule, delete_rule
from readings.alarms.rules.scopes import devices_of, tags_of
from readings.statistics.large_answers import large_answer

VIEW_ALARMS = "alarms.view_alarm"
VIEW_RULES = "alarms.view_rule"
MANAGE_RULES = "alarms.manage_rules"
ACKNOWLEDGE = "alarms.acknowledge_alarm"


def page_of(alarms: AlarmQuerySet, query: dict[str, Any], request: Request) -> Response:
    """One page of these alarms, newest first, filtered by the query."""
    alarms = alarms.opened_in(query.get("start"), query.get("end"))
    if query["state"] != "all":
        alarms = alarms.open() if query["state"] == "open" else alarms.resolved()
    if "rule" in query:
        alarms = alarms.filter(rule_id=query["rule"])
    if "severity" in query:
        alarms = alarms.filter(rule__severity=query["severity"])
    if "cursor" in query:
        alarms = alarms.before(*query["cursor"])
    found = list(alarms.newest_first().select_related("rule", "device")[: query["limit"] + 1])
    page = found[: query["limit"]]
    following = next_page(query, page[-1], request) if len(found) > len(page) else None
    return Response({"results": [alarm_document(alarm) for alarm in page], "next": following})


def next_page(query: dict[str, Any], last: Alarm, request: Request) -> str:
    """The URL of the page after `last`, with absolute times, so that all pages have the same window."""
    ends = {name: rfc3339(query[name]) for name in ("start", "end") if name in query}
    names = ("state", "device_id", "tag", "rule", "severity", "limit")
    filters = {name: query[name] for name in names if name in query}
    cursor = {"cursor": AlarmCursorField.encode(last.opened_at, last.pk)}
    return f"{request.build_absolute_uri(request.path)}?{urlencode(ends | filters | cursor, doseq=True)}"


def parsed(serializer: type[DeviceAlarmsQuery], request: Request) -> dict[str, Any]:
    """The validated query parameters. Raises ValidationError."""
    query = serializer(data=request.query_params, context={"now": timezone.now()})
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


class DeviceAlarmsViewSet(DeviceScope):
    admin_permissions = {"alarms": VIEW_ALARMS}
    open_to = {"alarms": (Role.DEVICE,)}

    @openapi.device_alarms
    def alarms(self, request: Request, device_id: str) -> Response:
        """The alarms of a device, newest first, in pages. A device sees its own."""
        device = self.get_object()
        return page_of(Alarm.objects.filter(device=device), parsed(DeviceAlarmsQuery, request), request)


class AlarmViewSet(GenericViewSet[Alarm]):
    permission_classes = [CallerPermission]
    queryset = Alarm.objects.all()
    admin_permissions = {"alarms": VIEW_ALARMS, "acknowledge": ACKNOWLEDGE}
    open_to: dict[str, tuple[Role, ...]] = {}

    def get_queryset(self) -> AlarmQuerySet:
        return Alarm.objects.visible_to(caller_of(self.request))

    @openapi.alarm_list
    def alarms(self, request: Request) -> Response:
        """The alarms, newest first, in pages; the open ones unless `state` says otherwise."""
        query = parsed(AlarmsQuery, request)
        alarms = self.get_queryset()
        if "device_id" in query:
            alarms = alarms.filter(device_id=query["device_id"])
        if query.get("tag"):
            alarms = alarms.filter(device_id__in=Device.objects.tagged(query["tag"]).values("device_id"))
        return page_of(alarms, query, request)

    @openapi.acknowledge
    def acknowledge(self, request: Request, alarm_id: UUID) -> Response:
        """Notes that somebody knows of the alarm. Repeated without another comment it changes nothing."""
        given = AcknowledgementSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        by = author(caller_of(request)).name
        try:
            pk = self.get_queryset().values_list("pk", flat=True).get(pk=alarm_id)
            alarm = acknowledge(pk, by=by, comment=given.validated_data.get("comment", ""), now=timezone.now())
        except Alarm.DoesNotExist as error:
            raise NotFound from error
        return Response(alarm_document(alarm))


def document_of(rule: Rule, caller: Caller) -> dict[str, Any]:
    devices = visible_of(devices_of(rule), caller)
    return rule_document(rule, devices, channels_of(rule), [tag.name for tag in tags_of(rule)])


def visible_of(device_ids: list[str], caller: Caller) -> list[str]:
    """Those of the devices that the caller may see, in the same order."""
    if sees_every_device(caller):
        return device_ids
    visible = Device.objects.visible_to(caller).filter(device_id__in=device_ids)
    return list(visible.order_by("device_id").values_list("device_id", flat=True))


class RuleViewSet(GenericViewSet[Rule]):
    permission_classes = [CallerPermission]
    queryset = Rule.objects.existing()
    lookup_field = "pk"
    lookup_url_kwarg = "rule_id"
    admin_permissions = (
        dict.fromkeys(("rules", "retrieve"), VIEW_RULES)
        | dict.fromkeys(("create", "partial_update", "destroy", "preview"), MANAGE_RULES)
        | dict.fromkeys(("mute", "unmute"), ACKNOWLEDGE)
    )
    open_to: dict[str, tuple[Role, ...]] = {}
    # A rule concerns also devices that are registered later.
    fleet_wide = ("create", "partial_update", "destroy", "preview", "mute", "unmute")

    def get_queryset(self) -> RuleQuerySet:
        return Rule.objects.existing().visible_to(caller_of(self.request))

    @openapi.rule_list
    def rules(self, request: Request) -> Response:
        """All rules in the order of their ids. There are at most 500, so that they are one page.

        A caller that is limited to tags sees the rules that apply to its devices, and of those that they name only its.
        """
        named: dict[int, list[str]] = {}
        by_name = RuleDevice.objects.exclude(rule_id__in=RuleTag.objects.values("rule_id"))
        by_name = by_name.filter(of_visible_devices(caller_of(request)))
        for rule_id, device_id in by_name.order_by("device_id").values_list("rule_id", "device_id"):
            named.setdefault(rule_id, []).append(str(device_id))
        tags: dict[int, list[str]] = {}
        for rule_id, name in RuleTag.objects.order_by("tag__key").values_list("rule_id", "tag__name"):
            tags.setdefault(rule_id, []).append(name)
        channels: dict[int, list[int]] = {}
        for rule_id, channel_id in RuleChannel.objects.order_by("channel_id").values_list("rule_id", "channel_id"):
            channels.setdefault(rule_id, []).append(channel_id)
        found = [
            rule_document(rule, named.get(rule.pk, []), channels.get(rule.pk, []), tags.get(rule.pk, []))
            for rule in self.get_queryset().order_by("id")
        ]
        return Response({"results": found, "next": None})

    @openapi.rule_create
    def create(self, request: Request) -> Response:
        """The rule judges readings that are stored from now on."""
        now = timezone.now()
        given = RuleSerializer(data=request.data, context={"now": now})
        given.is_valid(raise_exception=True)
        if self.get_queryset().count() >= RULES_MAX:
            detail = f"There may be {RULES_MAX} rules."
            raise ValidationError({"": ErrorDetail(detail, code="too_many_rules")})
        fields = dict(given.validated_data)
        device_ids, channel_ids = fields.pop("device_ids", []), fields.pop("channel_ids", [])
        tags = fields.pop("tags", [])
        by = author(caller_of(request))
        with tag_errors():
            rule = create_rule(fields, device_ids, tags=tags, channel_ids=channel_ids, now=now, by=by)
        return Response(document_of(rule, caller_of(request)), status=status.HTTP_201_CREATED)

    @openapi.rule
    def retrieve(self, request: Request, rule_id: int) -> Response:
        return Response(document_of(self.get_object(), caller_of(request)))

    @openapi.rule_change
    def partial_update(self, request: Request, rule_id: int) -> Response:
        """Fields that are not sent stay unchanged; null sets a parameter to its default.

        A rule that decides differently judges readings from now on. Its open alarms are judged by it as it is now.
        """
        rule = self.get_object()
        now = timezone.now()
        given = RuleSerializer(rule, data=request.data, partial=True, context={"now": now})
        given.is_valid(raise_exception=True)
        fields = dict(given.validated_data)
        device_ids, channel_ids = fields.pop("device_ids", None), fields.pop("channel_ids", None)
        tags = fields.pop("tags", None)
        by = author(caller_of(request))
        try:
            with tag_errors():
                rule = change_rule(rule, fields, device_ids, tags=tags, channel_ids=channel_ids, now=now, by=by)
        except Rule.DoesNotExist as error:  # deleted after the look-up
            raise NotFound from error
        return Response(document_of(rule, caller_of(request)))

    @openapi.rule_mute
    def mute(self, request: Request, rule_id: int) -> Response:
        """Until then, its alarms are recorded and nothing is sent. Replaces an earlier mute."""
        given = MuteSerializer(data=request.data, context={"now": timezone.now()})
        given.is_valid(raise_exception=True)
        self.mute_until(request, given.validated_data["until"])
        return Response({"muted_until": rfc3339(given.validated_data["until"])})

    @openapi.rule_unmute
    def unmute(self, request: Request, rule_id: int) -> Response:
        """Sends what the mute held back, if it still matters."""
        self.mute_until(request, None)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def mute_until(self, request: Request, until: datetime | None) -> None:
        try:
            mute_rule(self.get_object(), until, by=author(caller_of(request)))
        except Rule.DoesNotExist as error:  # deleted after the look-up
            raise NotFound from error

    @openapi.rule_delete
    def destroy(self, request: Request, rule_id: int) -> Response:
        """Resolves the open alarms of the rule. Its alarms stay, and still name it."""
        delete_rule(self.get_object(), now=timezone.now(), by=author(caller_of(request)))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @openapi.preview
    def preview(self, request: Request) -> Response:
        """The alarms that the rule would have opened in a window of the past. Stores nothing.

        Looks at 200,000 readings, for 5 s and until it has 1,000 alarms; then the answer is `truncated`.
        """
        now = timezone.now()
        given = PreviewSerializer(data=request.data, context={"now": now})
        given.is_valid(raise_exception=True)
        values = given.validated_data
        fields = dict(values["rule"])
        device_ids = fields.pop("device_ids", [])
        tags = fields.pop("tags", [])
        fields.pop("channel_ids", None)
        condition = condition_of(Rule(**fields))
        with large_answer():
            found = preview(condition, device_ids, tags=tags, start=values["start"], end=values["end"], now=now)
        return Response(
            {
                "devices": found.devices,
                "alarms": [previewed_document(alarm) for alarm in found.alarms],
                "truncated": found.truncated,
            }
        )
