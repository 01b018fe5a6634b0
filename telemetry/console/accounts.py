"""Accounts and groups in the console: an account cannot give, or take over, permissions that it does not have.

With Django's own pages, an account that may change accounts can make itself a superuser or set a superuser's password.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.forms import CheckboxSelectMultiple, ModelChoiceField, ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from devices.changes.log import SERVICE_ACCOUNTS, account
from devices.console import new_keys
from devices.console.tags import ReportsChangedTags
from devices.console.tokens import LimitField
from devices.models import AccountTag
from devices.tags.tagging import tags_named
from telemetry.console.set_password import link_for


def beyond(user: Any) -> QuerySet[Permission]:
    """The permissions that this account does not have; none for an active superuser."""
    if user.is_active and user.is_superuser:
        return Permission.objects.none()
    return Permission.objects.exclude(Q(user=user) | Q(group__user=user))


def groups_within(user: Any) -> QuerySet[Group]:
    """The groups whose permissions this account has all."""
    given = Group.permissions.through.objects.filter(group=OuterRef("pk"), permission__in=beyond(user))
    return Group.objects.exclude(Exists(given))


class WithinOneself(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """An account that is not a superuser may change and delete only objects with permissions that it has itself.

    It can also give no other permissions.
    """

    def within(self, user: Any, obj: Any) -> bool:
        """Whether `obj`, of this admin's model, has no permission beyond this account's."""
        raise NotImplementedError

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        permitted = super().has_change_permission(request, obj)
        return permitted and (obj is None or self.within(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        permitted = super().has_delete_permission(request, obj)
        return permitted and (obj is None or self.within(request.user, obj))

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.related_model is Permission:
            kwargs["queryset"] = Permission.objects.exclude(pk__in=beyond(request.user)).select_related("content_type")
        elif db_field.related_model is Group:
            kwargs["queryset"] = groups_within(request.user).order_by("name")
        return super().formfield_for_manytomany(db_field, request, **kwargs)


# What the documents call them.
User._meta.verbose_name, User._meta.verbose_name_plural = "account", "accounts"
Group._meta.verbose_name, Group._meta.verbose_name_plural = "role", "roles"

ROLES_HELP = (
    "What the account may do. One role is enough to sign in. Viewers look at devices and readings; "
    "Operators also add, change and deactivate devices."
)
ROLE_HELP = (
    "Viewers look at devices and readings; Operators also manage devices and acknowledge alarms; Administrators also "
    "manage alarm rules, API tokens and accounts."
)
STAFF_HELP = "Lets the account sign in without a role. It then may do only what its own permissions name."

LINK_PAGE = "admin:auth_user_link"


def limit_names(user: User) -> list[str]:
    """The names of the tags that limit the account. A superuser is not limited."""
    if user.is_superuser:
        return []
    limits = AccountTag.objects.filter(user=user).order_by("tag__key")
    return list(limits.values_list("tag__name", flat=True))


class NewAccountForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A new account. Without a role it cannot sign in."""

    role = ModelChoiceField(Group.objects.none(), required=False, help_text=ROLE_HELP)
    limit_names = LimitField()

    class Meta:
        model = User
        fields = ("username", "email")
        labels = {"username": "Name"}


class AccountForm(UserChangeForm):  # type: ignore[type-arg]
    limit_names = LimitField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["limit_names"] = ", ".join(limit_names(self.instance))


class RoleFilter(admin.RelatedFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "role"


admin.site.unregister([User, Group])


@admin.register(User)
class AccountAdmin(WithinOneself, ReportsChangedTags, UserAdmin):  # type: ignore[type-arg]
    """Accounts. An inactive account counts with the permissions that it would have if it were active."""

    form = AccountForm
    list_display = ("username", "email", "roles", "limits", "is_active", "signed_in")
    list_filter = ("is_active", ("groups", RoleFilter))
    show_facets = admin.ShowFacets.NEVER
    add_form_template = None
    change_form_template = "telemetry/account.html"
    add_fieldsets = ((None, {"fields": ("username", "email", "role", "limit_names")}),)
    fieldsets = (
        (None, {"fields": ("username", "email", "groups", "limit_names", "is_active", "password")}),
        (
            "More",
            {
                "classes": ("collapse",),
                "fields": (
                    *("first_name", "last_name", "is_staff", "is_superuser", "user_permissions"),
                    *("last_login", "date_joined"),
                ),
            },
        ),
    )

    @admin.display(description="role")
    def roles(self, user: User) -> str:
        names = [group.name for group in user.groups.all()] + ["superuser"] * user.is_superuser
        return ", ".join(names) or ("own permissions" if user.is_staff else "none")

    @admin.display(description="limited to")
    def limits(self, user: Any) -> str:
        return ", ".join(limit_names(user)) or "every device"

    @admin.display(description="last sign-in (UTC)", ordering="last_login")
    def signed_in(self, user: User) -> str:
        return "never" if user.last_login is None else f"{user.last_login:%Y-%m-%d %H:%M}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Without the service accounts: to delete one would delete its changes from the list of changes."""
        accounts: QuerySet[User] = super().get_queryset(request)
        return accounts.exclude(username__in=SERVICE_ACCOUNTS).prefetch_related("groups")

    def within(self, user: Any, obj: Any) -> bool:
        if user.is_superuser:
            return True
        held = beyond(user).filter(Q(user=obj) | Q(group__user=obj))
        return not obj.is_superuser and not held.exists()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Of a new account: its name, e-mail, role and limit. It sets its password itself, with a link."""
        if obj is None:
            kwargs["form"] = NewAccountForm
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if obj is None:
            form.base_fields["role"].queryset = groups_within(request.user).order_by("name")
        return form

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.password = make_password(None)
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if not change and (role := form.cleaned_data["role"]) is not None:
            form.instance.groups.set([role])
        if "limit_names" in form.changed_data:
            # Raises UnknownTags: without one of the tags, the account would be less limited, or not at all.
            tags = tags_named(form.cleaned_data["limit_names"], may_create=False, by=account(request.user))
            AccountTag.objects.filter(user=form.instance).delete()
            AccountTag.objects.bulk_create([AccountTag(user=form.instance, tag=tag) for tag in tags])

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        # No buttons that skip the next page, because it shows the link.
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, (extra_context or {}) | buttons)

    def response_add(self, request: HttpRequest, obj: User, post_url_continue: str | None = None) -> Any:
        return self.show_link(request, obj)

    def show_link(self, request: HttpRequest, user: User) -> HttpResponse:
        """Leads to the page that shows a link to set the password."""
        with transaction.atomic():
            pair = (user.get_username(), link_for(user, request))
            return new_keys.keep(request, [pair], now=timezone.now(), view=LINK_PAGE)

    def make_link(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Makes a link for an account that has no permission beyond this one's."""
        user = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        self.log_change(request, user, "Made a link to set the password.")
        return self.show_link(request, user)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("link/<slug:page>/", view(require_safe(self.link_view)), name="auth_user_link"),
            path("<int:pk>/new-link/", view(require_POST(self.make_link)), name="auth_user_new_link"),
            *super().get_urls(),
        ]

    def link_view(self, request: HttpRequest, page: str) -> HttpResponse:
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        kept = new_keys.kept(request, page, now=timezone.now())
        name, link = kept[0] if kept else ("", "")
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "minutes": new_keys.SHOWN_SECONDS // 60,
            "title": f"The account {name}" if kept else "No longer shown",
            "name": name,
            "link": link,
        }
        return TemplateResponse(request, "telemetry/account_link.html", context, status=200 if kept else 410)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            kwargs |= {"label": "Roles", "help_text": ROLES_HELP, "widget": CheckboxSelectMultiple}
        elif db_field.name == "is_staff":
            kwargs["help_text"] = STAFF_HELP
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leaves out the password, with its link to change it, if the account may not change `obj`."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (title, options | {"fields": [name for name in options["fields"] if name != "password"]})
            for title, options in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, "is_superuser")


@admin.register(Group)
class AccountGroupAdmin(WithinOneself, GroupAdmin):
    """Roles. To change a role is to change the permissions of the accounts that have it."""

    def within(self, user: Any, obj: Any) -> bool:
        return bool(user.is_superuser) or groups_within(user).filter(pk=obj.pk).exists()
