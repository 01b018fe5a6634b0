"""API tokens in the console: make, list and revoke them. A new token is shown once, on a page of its own."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.changes.log import account
from devices.console import new_keys
from devices.console.tags import ReportsChangedTags, TagNamesFormField
from devices.models import ApiToken, Tag
from devices.tags.names import key_of
from devices.tokens.making import (
    LIMIT_TAGS_MAX,
    TOKENS_MAX,
    TokenNameTaken,
    TooManyTokens,
    create_token,
    delete_token,
)
from devices.tokens.scopes import Scope

TOKEN_PAGE = "admin:devices_apitoken_token"  # noqa: S105  the name of a page


class LimitField(TagNamesFormField):
    """The tags that limit a token or an account. They must exist."""

    most = LIMIT_TAGS_MAX

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.label = "Limited to tags"
        self.help_text = "Names separated by commas: only the devices with one of these tags. Empty: every device."

    def clean(self, value: Any) -> list[str]:
        names = super().clean(value)
        # Locked until the form is saved: without a tag that is deleted meanwhile, the limit would be weaker. In the
        # order of the keys, which prevents deadlocks.
        known = {tag.key for tag in Tag.objects.named(names).by_name().select_for_update(no_key=True)}
        if missing := [name for name in names if key_of(name) not in known]:
            raise ValidationError(f"There is no tag “{missing[0]}”.", code="unknown_tag")
        return names


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)
    tag_names = LimitField()
    expires_at = forms.DateTimeField(
        required=False, label="Expires (UTC)", help_text="Such as 2027-01-31. Empty: it does not expire."
    )

    class Meta:
        model = ApiToken
        fields = ("name",)

    def clean_scopes(self) -> list[Scope]:
        chosen = [Scope(scope) for scope in self.cleaned_data["scopes"]]
        if Scope.REGISTER in chosen and Scope.INGEST not in chosen:
            raise ValidationError("The scope register needs the scope ingest beside it.", code="ingest_missing")
        return chosen

    def clean_expires_at(self) -> Any:
        moment = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise ValidationError("This is in the past.", code="in_the_past")
        return moment

    def clean(self) -> dict[str, Any]:
        if ApiToken.objects.count() >= TOKENS_MAX:
            raise ValidationError(f"There may be {TOKENS_MAX:,} tokens.", code="too_many_tokens")
        return super().clean() or self.cleaned_data


class TokenAdmin(ReportsChangedTags):
    """Tokens are made and deleted, and not changed. `devices.tokens.making` writes the list of changes."""

    form = TokenForm
    reported = (*ReportsChangedTags.reported, TokenNameTaken, TooManyTokens)
    list_display = ("name", "scope_list", "limits", "token_hint", "created_by", "created", "expires", "last_used")
    list_display_links = None
    fields = ("name", "scopes", "tag_names", "expires_at")
    search_fields = ("name",)
    ordering = ("name", "id")
    list_per_page = 100
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        return ApiToken.objects.prefetch_related("tags")

    @admin.display(description="scopes")
    def scope_list(self, token: ApiToken) -> str:
        return token.scopes.replace(",", ", ")

    @admin.display(description="limited to")
    def limits(self, token: ApiToken) -> str:
        return ", ".join(sorted(tag.name for tag in token.tags.all())) or "every device"

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, token: ApiToken) -> str:
        return f"{token.created_at:%Y-%m-%d %H:%M}"

    @admin.display(description="expires (UTC)", ordering="expires_at")
    def expires(self, token: ApiToken) -> str:
        if token.expires_at is None:
            return "never"
        over = " (expired)" if token.has_expired(now=timezone.now()) else ""
        return f"{token.expires_at:%Y-%m-%d %H:%M}{over}"

    @admin.display(description="last used (UTC)", ordering="last_used_at")
    def last_used(self, token: ApiToken) -> str:
        return "never" if token.last_used_at is None else f"{token.last_used_at:%Y-%m-%d %H:%M}"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        wanted = form.cleaned_data
        made, token = create_token(
            name=wanted["name"],
            scopes=wanted["scopes"],
            tags=wanted["tag_names"],
            expires_at=wanted["expires_at"],
            now=timezone.now(),
            by=account(request.user),
        )
        obj.__dict__.update(made.__dict__)
        request.new_token = token  # type: ignore[attr-defined]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        # No buttons that skip the next page, because it shows the token.
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, (extra_context or {}) | buttons)

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> Any:
        token = request.new_token  # type: ignore[attr-defined]
        return new_keys.keep(request, [(obj.name, token)], now=timezone.now(), view=TOKEN_PAGE)

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        delete_token(obj, by=account(request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            self.delete_model(request, token)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Only the tokens: what belongs to them needs no permission of its own."""
        return [str(token) for token in objs], {}, set(), []

    def get_urls(self) -> list[URLPattern]:
        shown = path(
            "token/<slug:page>/",
            self.admin_site.admin_view(require_safe(self.token_view)),
            name="devices_apitoken_token",
        )
        return [shown, *super().get_urls()]

    def token_view(self, request: HttpRequest, page: str) -> HttpResponseBase:
        if not self.has_add_permission(request):
            raise PermissionDenied
        kept = new_keys.kept(request, page, now=timezone.now())
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "minutes": new_keys.SHOWN_SECONDS // 60,
            "title": f"The token {kept[0][0]}" if kept else "No longer shown",
            "token": kept[0][1] if kept else None,
        }
        template = "admin/devices/apitoken/token.html"
        return TemplateResponse(request, template, context, status=200 if kept else 410)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """`devices.tokens.making` has logged it, here and below."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:  # type: ignore[override]
        pass
