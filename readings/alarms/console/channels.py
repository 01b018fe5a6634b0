"""Channels in the console: add and change them, send a test, and see a new secret once."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from devices.changes.log import account, log_changed
from devices.console import new_keys
from devices.plurals import counted
from readings.alarms.delivery.channels import CHANNELS_MAX, change_channel, create_channel, delete_channel
from readings.alarms.delivery.sending import send, trial_post
from readings.alarms.delivery.targets import InvalidTarget, checked_target
from readings.alarms.models import Channel, ChannelKind, Delivery, DeliveryState

MANAGE_RULES = "alarms.manage_rules"
SECRET_PAGE = "admin:alarms_channel_secret"  # noqa: S105  the name of a page


def counted_in(state: DeliveryState) -> Coalesce:
    """How many messages for the channel are in this state."""
    found = Delivery.objects.filter(channel=OuterRef("pk"), state=state).order_by().values("channel")
    return Coalesce(Subquery(found.annotate(count=Count("pk")).values("count")), 0)


class NewChannelForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    target = forms.CharField(
        max_length=2_000,
        help_text="E-mail: an address. Webhook: an address that begins with http:// or https://. Apprise: the URL of a "
        "service, such as ntfy://ntfy.sh/a-topic-that-nobody-guesses. Tokens in it are not shown again.",
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off", "spellcheck": "false"}),
    )

    class Meta:
        model = Channel
        fields = ("name", "kind", "target")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = cleaned.get("kind") or self.instance.kind
        if kind and cleaned.get("target"):
            try:
                checked_target(kind, cleaned["target"])
            except InvalidTarget as error:
                self.add_error("target", str(error))
        return cleaned

    def _post_clean(self) -> None:
        """Leaves the instance as it is stored: `save_model` changes it, and an empty target keeps the old one."""


class ChannelForm(NewChannelForm):
    target = forms.CharField(
        max_length=2_000,
        required=False,
        label="New target",
        help_text="Leave it empty to keep the target.",
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off", "spellcheck": "false"}),
    )

    class Meta:
        model = Channel
        fields = ("name", "target")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["target"] = ""


class ChannelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("name", "kind", "shown_target", "waiting", "given_up")
    ordering = ("name", "id")
    list_per_page = 100
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_manage(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_manage(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may_manage(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_manage(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_manage(request)

    @staticmethod
    def may_manage(request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perm(MANAGE_RULES))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        return Channel.objects.annotate(
            waiting_messages=counted_in(DeliveryState.WAITING), given_up_messages=counted_in(DeliveryState.GIVEN_UP)
        )

    @admin.display(description="target")
    def shown_target(self, channel: Channel) -> str:
        return channel.target_hint

    @admin.display(description="waiting")
    def waiting(self, channel: Any) -> int:
        return int(channel.waiting_messages)

    @admin.display(description="given up")
    def given_up(self, channel: Any) -> int:
        return int(channel.given_up_messages)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["form"] = ChannelForm if obj else NewChannelForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("name", "kind", "shown_target", "target") if obj else ("name", "kind", "target")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("kind", "shown_target") if obj else ()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if self.may_manage(request) and Channel.objects.count() >= CHANNELS_MAX:
            self.message_user(request, f"There may be {CHANNELS_MAX} channels.", messages.ERROR)
            return HttpResponseRedirect(reverse("admin:alarms_channel_changelist"))
        return super().add_view(request, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        values = form.cleaned_data
        if change:
            stored = change_channel(obj, name=values["name"], target=values["target"] or None)
        else:
            now = timezone.now()
            stored = create_channel(name=values["name"], kind=values["kind"], target=values["target"], now=now)
        obj.__dict__.update(stored.__dict__)

    def response_add(self, request: HttpRequest, obj: Channel, post_url_continue: str | None = None) -> HttpResponse:
        if obj.kind == ChannelKind.WEBHOOK:
            return self.show_secret(request, obj)
        return HttpResponseRedirect(self.page_of(obj))

    def delete_model(self, request: HttpRequest, obj: Channel) -> None:
        dropped = delete_channel(obj)
        self.message_user(request, f"{counted(dropped, 'message', 'messages')} that waited for it dropped.")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        for channel in queryset:
            self.delete_model(request, channel)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Only the channels: what belongs to them needs no permission of its own."""
        return [str(channel) for channel in objs], {}, set(), []

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/test/", view(require_POST(self.test_view)), name="alarms_channel_test"),
            path("<int:pk>/new-secret/", view(require_POST(self.new_secret_view)), name="alarms_channel_new_secret"),
            path("secret/<slug:page>/", view(require_safe(self.secret_view)), name="alarms_channel_secret"),
            *super().get_urls(),
        ]

    def managed(self, request: HttpRequest, pk: int) -> Channel:
        if not self.may_manage(request):
            raise PermissionDenied
        return get_object_or_404(Channel, pk=pk)

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Sends a test, and shows the receiver's answer on the page of the channel."""
        channel = self.managed(request, pk)
        now = timezone.now()
        if not connection.in_atomic_block:
            connection.close()
        answer = send(channel, trial_post(channel, now=now), now=now)
        text = answer.detail + (f" It says: {answer.body}" if answer.body else "")
        if answer.delivered:
            messages.success(request, f"The test message was delivered. {text}")
        else:
            messages.error(request, f"The test message was not delivered. {text}")
        return HttpResponseRedirect(self.page_of(channel))

    def new_secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        channel = self.managed(request, pk)
        if channel.kind != ChannelKind.WEBHOOK:
            messages.error(request, "Only a webhook has a secret.")
            return HttpResponseRedirect(self.page_of(channel))
        with transaction.atomic():
            channel = change_channel(channel, new=True)
            log_changed([channel], ["secret"], by=account(request.user))
            return self.show_secret(request, channel)

    def show_secret(self, request: HttpRequest, channel: Channel) -> HttpResponse:
        pairs = [(str(channel.pk), channel.secret)]
        with transaction.atomic():
            return new_keys.keep(request, pairs, now=timezone.now(), view=SECRET_PAGE)

    def secret_view(self, request: HttpRequest, page: str) -> HttpResponseBase:
        if not self.may_manage(request):
            raise PermissionDenied
        kept = new_keys.kept(request, page, now=timezone.now())
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "minutes": new_keys.SHOWN_SECONDS // 60,
            "title": "The webhook's secret" if kept else "No longer shown",
            "secret": kept[0][1] if kept else None,
            "channel": Channel.objects.filter(pk=int(kept[0][0])).first() if kept else None,
        }
        template = "admin/alarms/channel/secret.html"
        return TemplateResponse(request, template, context, status=200 if kept else 410)

    def page_of(self, channel: Channel) -> str:
        return reverse("admin:alarms_channel_change", args=[channel.pk])
