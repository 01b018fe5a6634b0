"""The endpoints of API tokens."""

from datetime import datetime
from typing import Any

from django.core.validators import RegexValidator
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import CallerPermission
from devices.api.openapi import DATE_TIME, JSON, STRING, Schema, array, record
from devices.api.serializers import StrictCharField, StrictSerializer, TagNameField
from devices.api.tag_errors import tag_errors
from devices.changes.log import author
from devices.models import ApiToken
from devices.tokens.making import (
    LIMIT_TAGS_MAX,
    TokenNameTaken,
    TooManyTokens,
    create_token,
    delete_token,
    token_document,
)
from devices.tokens.models import TOKEN_NAME_CHARACTERS
from devices.tokens.scopes import Scope

NAME_PATTERN = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+"
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
TOKEN_MEMBERS: Schema = {
    "id": {"type": "integer", "minimum": 1},
    "name": STRING,
    "starts_with": STRING | {"description": "The first characters, to recognise a token by."},
    "scopes": array({"type": "string", "enum": Scope.values}),
    "tags": array(STRING) | {"description": "The tags that limit it; empty: it sees every device."},
    "created_by": STRING,
    "created_at": DATE_TIME,
    "expires_at": TIME_OR_NULL | {"description": "null: it does not expire."},
    "last_used_at": TIME_OR_NULL | {"description": "Noted once a minute; null: never used."},
}
TOKEN = record(TOKEN_MEMBERS)
NEW_TOKEN = record(TOKEN_MEMBERS | {"token": STRING | {"description": "Shown this once."}})
TOKEN_ID = OpenApiParameter("token_id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)


class NameTaken(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "name_taken"


@extend_schema_field(
    {"type": "string", "minLength": 1, "maxLength": TOKEN_NAME_CHARACTERS, "pattern": f"^{NAME_PATTERN}$"}
)
class TokenNameField(StrictCharField):
    """One line."""


# The field's `allow_null` adds null to the schema.
@extend_schema_field(DATE_TIME | {"description": "When it ends; null or absent: it does not expire."})
class ExpiryField(serializers.DateTimeField):
    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ssZ")
        return super().to_internal_value(value)


class NewTokenSerializer(StrictSerializer):
    """The context has `now`."""

    name = TokenNameField(
        max_length=TOKEN_NAME_CHARACTERS,
        validators=[RegexValidator(rf"^{NAME_PATTERN}\Z", "Write one line.", code="control_character")],
    )
    scopes = serializers.ListField(
        child=serializers.ChoiceField(Scope.choices), min_length=1, max_length=len(Scope), help_text="What it may do."
    )
    tags = serializers.ListField(
        child=TagNameField(),
        required=False,
        max_length=LIMIT_TAGS_MAX,
        help_text="Limits it to the devices with at least one of these tags. Absent or empty: it sees every device.",
    )
    expires_at = ExpiryField(required=False, allow_null=True)

    def validate_scopes(self, scopes: list[str]) -> list[Scope]:
        chosen = {Scope(scope) for scope in scopes}
        if Scope.REGISTER in chosen and Scope.INGEST not in chosen:
            detail = "The scope register needs the scope ingest beside it."
            raise serializers.ValidationError(detail, code="ingest_missing")
        return sorted(chosen)

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= self.context["now"]:
            raise serializers.ValidationError("This is in the past.", code="in_the_past")
        return moment


class TokenViewSet(GenericViewSet[ApiToken]):
    """API tokens, for administrators: a token cannot make others."""

    permission_classes = [CallerPermission]
    queryset = ApiToken.objects.all()
    lookup_field = "pk"
    lookup_url_kwarg = "token_id"
    admin_permissions = {
        "tokens": "devices.view_apitoken",
        "create": "devices.add_apitoken",
        "destroy": "devices.delete_apitoken",
    }
    open_to: dict[str, tuple[Role, ...]] = {}
    fleet_wide = ("tokens", "create", "destroy")

    @extend_schema(
        operation_id="token_list",
        summary="List API tokens",
        responses={(200, JSON): record({"results": array(TOKEN), "next": {"type": "null"}})},
    )
    def tokens(self, request: Request) -> Response:
        """All tokens by name, expired ones too. There are at most 1,000: one page."""
        tokens = self.get_queryset().by_name().prefetch_related("tags")  # type: ignore[attr-defined]
        return Response({"results": [token_document(token) for token in tokens], "next": None})

    @extend_schema(
        operation_id="token_create",
        summary="Create an API token",
        request=NewTokenSerializer,
        responses={(201, JSON): NEW_TOKEN},
    )
    def create(self, request: Request) -> Response:
        """The answer has the `token`, which cannot be shown again. 409 (`name_taken`) if the name is taken."""
        now = timezone.now()
        given = NewTokenSerializer(data=request.data, context={"now": now})
        given.is_valid(raise_exception=True)
        try:
            with tag_errors():
                made, token = create_token(**given.validated_data, now=now, by=author(caller_of(request)))
        except TokenNameTaken as error:
            raise NameTaken(str(error)) from error
        except TooManyTokens as error:
            raise ValidationError({"": ErrorDetail(str(error), code="too_many_tokens")}) from error
        return Response(token_document(made) | {"token": token}, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="token_delete", summary="Revoke an API token", parameters=[TOKEN_ID], responses={204: None}
    )
    def destroy(self, request: Request, token_id: int) -> Response:
        """The token is refused from now on, and the live sockets that it opened are closed within a second."""
        delete_token(self.get_object(), by=author(caller_of(request)))
        return Response(status=status.HTTP_204_NO_CONTENT)
