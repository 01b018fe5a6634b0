"""Accounts and groups in the console: an account cannot give, or take over, permissions that it does not have.

With Django's own pages, an account that may change accounts can make itself a superuser or set a superuser's password.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse

from devices.changes import SERVICE_ACCOUNTS


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


GROUPS_HELP = (
    "Its roles: what the account may do. One group is enough to sign in. Viewers look at devices and readings; "
    "Operators also add, change and deactivate devices."
)
STAFF_HELP = "Lets the account sign in without a group. It then may do only what its own permissions name."

admin.site.unregister([User, Group])


@admin.register(User)
class AccountAdmin(WithinOneself, UserAdmin):  # type: ignore[type-arg]
    """Accounts. An inactive account counts with the permissions that it would have if it were active."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Without the service accounts: to delete one would delete its changes from the list of changes."""
        accounts: QuerySet[User] = super().get_queryset(request)
        return accounts.exclude(username__in=SERVICE_ACCOUNTS)

    def within(self, user: Any, obj: Any) -> bool:
        if user.is_superuser:
            return True
        held = beyond(user).filter(Q(user=obj) | Q(group__user=obj))
        return not obj.is_superuser and not held.exists()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Hashes the password before the transaction begins, because on SQLite it blocks all other writers."""
        if request.method == "POST" and self.has_add_permission(request) and self.has_change_permission(request):
            form = self.get_form(request)(request.POST)
            if form.is_valid():
                usable = form.cleaned_data.get("set_usable_password", True)
                hashed = make_password(form.cleaned_data["password1"] if usable else None)
                request.hashed_password = hashed  # type: ignore[attr-defined]
        return super().add_view(request, form_url, extra_context)

    def save_form(self, request: Any, form: Any, change: bool) -> Any:
        if change or not hasattr(request, "hashed_password"):
            return super().save_form(request, form, change)
        account = ModelForm.save(form, commit=False)  # not the form's own `save`, which hashes again
        account.password = request.hashed_password
        return account

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name in ("groups", "is_staff"):
            kwargs["help_text"] = GROUPS_HELP if db_field.name == "groups" else STAFF_HELP
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
    """Groups. To change a group is to change the permissions of its members."""

    def within(self, user: Any, obj: Any) -> bool:
        return bool(user.is_superuser) or groups_within(user).filter(pk=obj.pk).exists()
