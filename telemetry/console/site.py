"""The admin site: Django's own, with an overview of the fleet as its index, and with declared filters only."""

from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.contrib.contenttypes.views import shortcut
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils import timezone

from devices.access.callers import viewer_of
from devices.access.roles import has_role
from devices.changes.log import account, fields_of, keep_details
from devices.querysets import of_visible_devices
from readings.alarms.overview import open_alarms
from readings.overview import overview
from telemetry.console.lists import declared
from telemetry.console.set_password import SetPasswordView
from telemetry.console.sign_in import SignInForm

CHANGES_LISTED = 8
NOTHING_CHOSEN = "The selected items are not in this list."


class ConsoleModelAdmin(ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """The base class that `Console.register` adds to every registered admin class, including Django's own.

    An account that is limited to tags sees the rows of models whose queryset has `visible_to`; of those it may change
    devices alone.
    """

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found = super().get_queryset(request)
        viewer = viewer_of(request.user)
        if viewer.limit is None or self.model is LogEntry:  # whose admin has limited it already
            return found
        if hasattr(found, "visible_to"):
            visible: QuerySet[Any] = found.visible_to(viewer)
            return visible
        return found.none()

    def within_limit(self, request: HttpRequest, *, changing: bool = False) -> bool:
        """Whether the limit of the account, if it has one, lets it see the model; `changing`: change it."""
        if viewer_of(request.user).limit is None:
            return True
        if changing:
            return self.opts.label == "devices.Device"
        has_method = hasattr(self.model._default_manager.get_queryset(), "visible_to")
        return has_method or self.model is LogEntry

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Also notes the values before and after, for the details of the change."""
        names = form.changed_data
        before = {} if add else {name: plain(form.initial.get(name)) for name in names}
        after = {name: plain(form.cleaned_data.get(name)) for name in names}
        noting: Any = request
        noting.changed_values = (before, after)
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return self.with_details(request, [obj], super().log_addition(request, obj, message))

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return self.with_details(request, [obj], super().log_change(request, obj, message))

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        deleted = list(queryset)
        entries = super().log_deletions(request, queryset)
        if entries is not None:
            before = [fields_of(obj) for obj in deleted]
            keep_details(entries, deleted, by=account(request.user), before=before)
        return entries

    def with_details(self, request: HttpRequest, objects: list[Any], entry: Any) -> Any:
        """`entry` is None if the change was logged already, by the module that made it."""
        if entry is not None:
            before, after = getattr(request, "changed_values", ({}, {}))
            keep_details([entry], objects, by=account(request.user), before=[before], after=[after])
        return entry

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) and self.within_limit(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and self.within_limit(request)

    def has_add_permission(self, request: HttpRequest, *more: Any) -> bool:
        return super().has_add_permission(request, *more) and self.within_limit(request, changing=True)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self.within_limit(request, changing=True)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self.within_limit(request, changing=True)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return declared(super().get_changelist(request, **kwargs))

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:  # type: ignore[override]
        try:
            return super().response_action(request, queryset)
        except (ValidationError, ValueError, OverflowError):
            # Django does not check whether the selected values are valid ids; the database raises these errors.
            self.message_user(request, NOTHING_CHOSEN, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Shows an object's changes only to accounts that may view the list of all changes."""
        if not may_view_changes(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)


def plain(value: Any) -> Any:
    """A value of a form as JSON has it; objects by their text."""
    if isinstance(value, list | tuple | QuerySet):
        return [str(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def may_view_changes(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm("admin.view_logentry"))


@admin.action(permissions=["delete"], description=delete_selected.short_description)  # type: ignore[attr-defined]
def delete_with_log_entries(model_admin: Any, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponseBase | None:
    """Django's own action in one transaction, because it writes log entries first and then deletes."""
    with transaction.atomic():
        return delete_selected(model_admin, request, chosen)


class Console(AdminSite):
    site_header = site_title = "Telemetry"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False
    login_form = SignInForm

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.add_action(delete_with_log_entries, "delete_selected")

    def has_permission(self, request: HttpRequest) -> bool:
        """Django's own needs `is_staff`; here a role is enough, as on every page."""
        return has_role(request.user)

    def admin_view(self, view: Callable[..., HttpResponseBase], cacheable: bool = False) -> Any:
        # Django stores a new password and its log entry in two transactions; this makes them one.
        if getattr(view, "__name__", "") == "user_change_password":
            view = transaction.atomic(view)
        return super().admin_view(view, cacheable)

    def register(
        self, model_or_iterable: type[Any] | Iterable[type[Any]], admin_class: Any = None, **options: Any
    ) -> None:
        admin_class = admin_class or ModelAdmin
        in_the_console: Any = type(admin_class.__name__, (ConsoleModelAdmin, admin_class), {})
        super().register(model_or_iterable, in_the_console, **options)

    def get_urls(self) -> list[URLResolver | URLPattern]:
        # Placed before Django's own URL of the same name, so that it takes precedence.
        object_page = path(
            "r/<path:content_type_id>/<path:object_id>/", self.admin_view(self.view_on_site), name="view_on_site"
        )
        set_password = path("set-password/<uidb64>/<token>/", SetPasswordView.as_view(), name="set_password")
        return [object_page, set_password, *super().get_urls()]

    def view_on_site(self, request: HttpRequest, content_type_id: str, object_id: str) -> HttpResponse:
        """Redirects to an object's own page if the account may view the object."""
        try:
            model = ContentType.objects.get_for_id(int(content_type_id)).model_class()
        except (ContentType.DoesNotExist, ValueError) as error:
            raise Http404 from error
        if model is None or not self.is_registered(model):
            raise Http404
        model_admin = self.get_model_admin(model)
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        try:
            if model_admin.get_object(request, object_id) is None:
                raise Http404
            return shortcut(request, content_type_id, object_id)
        except (ValidationError, ValueError, OverflowError) as error:  # the id is not valid for this model
            raise Http404 from error

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Allows only declared fields, because Django's view searches and counts any related table."""
        field = request.GET.get("field_name", "")
        try:
            model = apps.get_model(request.GET.get("app_label", ""), request.GET.get("model_name", ""))
        except LookupError as error:
            raise PermissionDenied from error
        if not self.is_registered(model) or field not in self.get_model_admin(model).get_autocomplete_fields(request):
            raise PermissionDenied
        return super().autocomplete_view(request)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context: dict[str, Any] = dict(extra_context or {})
        user: Any = request.user
        if user.has_perms(["devices.view_device", "readings.view_reading"]):
            context["fleet"] = overview(viewer_of(user), now=timezone.now())
        if user.has_perm("alarms.view_alarm"):
            context["alarms"] = open_alarms(viewer_of(user))
        if may_view_changes(request):
            context["changes"] = list(self.get_log_entries(request).order_by("-id")[:CHANGES_LISTED])
        return super().index(request, context)

    def get_log_entries(self, request: HttpRequest) -> QuerySet[LogEntry]:
        """The changes to objects of those models that this account may view."""
        entries = super().get_log_entries(request)
        if not may_view_changes(request):
            return entries.none()
        if request.user.is_superuser:
            return entries
        viewer = viewer_of(request.user)
        if viewer.limit is not None:
            entries = entries.filter(of_visible_devices(viewer, "detail__device_id"))
        viewed = [model for model, registered in self._registry.items() if registered.has_view_permission(request)]
        kinds = ContentType.objects.get_for_models(*viewed)
        return entries.filter(content_type__in=[kind.pk for kind in kinds.values()])
