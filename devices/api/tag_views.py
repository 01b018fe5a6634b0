from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import CallerPermission
from devices.api.openapi import JSON, TAG, array, record
from devices.api.serializers import StrictSerializer, TagNameField
from devices.api.tag_errors import ADD_TAGS
from devices.changes.log import author
from devices.models import Tag
from devices.querysets import TagQuerySet
from devices.tags.names import Colour, key_of
from devices.tags.tagging import TagInUse, TagTaken, TooManyTags, change_tag, create_tag, delete_tag

VIEW_TAGS = "devices.view_tag"


class NameTaken(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "tag_taken"


class InUse(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "tag_in_use"


class TagChangesSerializer(StrictSerializer):
    name = TagNameField(required=False, help_text="Upper and lower case do not matter.")
    colour = serializers.ChoiceField(Colour.choices, required=False)


class NewTagSerializer(TagChangesSerializer):
    name = TagNameField(help_text="Upper and lower case do not matter.")


def tag_document(tag: Any) -> dict[str, Any]:
    """A tag `with_counts` as the API returns it."""
    return {"name": tag.name, "colour": tag.colour, "devices": tag.device_count}


class TagViewSet(GenericViewSet[Tag]):
    """Tags: groups of devices. A tag is addressed by its name, in any case of letters."""

    permission_classes = [CallerPermission]
    queryset = Tag.objects.all()
    lookup_field = "name"
    admin_permissions = {
        "tags": VIEW_TAGS,
        "create": ADD_TAGS,
        "retrieve": VIEW_TAGS,
        "partial_update": "devices.change_tag",
        "destroy": "devices.delete_tag",
    }
    open_to: dict[str, tuple[Role, ...]] = {}
    fleet_wide = ("create", "partial_update", "destroy")

    def get_queryset(self) -> TagQuerySet:
        tags = super().get_queryset()
        assert isinstance(tags, TagQuerySet)
        return tags.visible_to(caller_of(self.request))

    @extend_schema(
        operation_id="tag_list",
        summary="List tags",
        responses={(200, JSON): record({"results": array(TAG), "next": {"type": "null"}})},
    )
    def tags(self, request: Request) -> Response:
        """All tags in the order of their names, with the number of devices. There are at most 1,000: one page.

        A caller that is limited to tags sees those of its devices, and counts only its devices.
        """
        tags = self.get_queryset().with_counts(caller_of(request)).by_name()
        return Response({"results": [tag_document(tag) for tag in tags], "next": None})

    @extend_schema(
        operation_id="tag_create", summary="Create a tag", request=NewTagSerializer, responses={(201, JSON): TAG}
    )
    def create(self, request: Request) -> Response:
        """Tags are also made when a device gets them. 409 (`tag_taken`) if there is one with this name."""
        given = NewTagSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        try:
            with transaction.atomic():
                tag = create_tag(wanted["name"], colour=wanted.get("colour"), by=author(caller_of(request)))
        except TagTaken as error:
            raise NameTaken(str(error)) from error
        except TooManyTags as error:
            raise ValidationError({"": ErrorDetail(str(error), code="too_many_tags")}) from error
        return Response(self.document(tag.pk), status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="tag", summary="Look up a tag", responses={(200, JSON): TAG})
    def retrieve(self, request: Request, name: str) -> Response:
        return Response(self.document(self.found(name).pk))

    @extend_schema(
        operation_id="tag_change", summary="Change a tag", request=TagChangesSerializer, responses={(200, JSON): TAG}
    )
    def partial_update(self, request: Request, name: str) -> Response:
        """Its devices and the alarm rules that name it keep it under its new name. 409 if that is taken."""
        self.found(name)
        given = TagChangesSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            with transaction.atomic():
                tag = self.found(name, lock=True)
                change_tag(tag, **given.validated_data, by=author(caller_of(request)))
        except TagTaken as error:
            raise NameTaken(str(error)) from error
        return Response(self.document(tag.pk))

    @extend_schema(operation_id="tag_delete", summary="Delete a tag", responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        """Takes it from its devices. 409 (`tag_in_use`) while an alarm rule names it, or limits a token or account."""
        try:
            with transaction.atomic():
                delete_tag(self.found(name), by=author(caller_of(request)))
        except TagInUse as error:
            raise InUse(str(error)) from error
        except Tag.DoesNotExist as error:  # deleted after the look-up
            raise NotFound from error
        return Response(status=status.HTTP_204_NO_CONTENT)

    def found(self, name: str, *, lock: bool = False) -> Tag:
        tags = Tag.objects.select_for_update(no_key=True) if lock else self.get_queryset()
        try:
            return tags.get(key=key_of(name))
        except Tag.DoesNotExist as error:
            raise NotFound from error

    def document(self, pk: int) -> dict[str, Any]:
        try:
            return tag_document(Tag.objects.with_counts(caller_of(self.request)).get(pk=pk))
        except Tag.DoesNotExist as error:  # deleted meanwhile
            raise NotFound from error
