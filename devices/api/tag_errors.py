"""The errors of `devices.tags.tagging` as errors of the API."""

from collections.abc import Iterator
from contextlib import contextmanager

from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError

from devices.tags.tagging import OutsideLimit, TooManyTags, UnknownTags

# Whoever may change devices, but has not this permission, can give only tags that exist.
ADD_TAGS = "devices.add_tag"


@contextmanager
def tag_errors(field: str = "tags") -> Iterator[None]:
    """Raises errors about tags that a request names as errors of this field."""
    try:
        yield
    except UnknownTags as error:
        raise ValidationError({field: ErrorDetail(str(error), code="unknown_tag")}) from error
    except TooManyTags as error:
        raise ValidationError({field: ErrorDetail(str(error), code="too_many_tags")}) from error
    except OutsideLimit as error:
        raise PermissionDenied(str(error), code="outside_limit") from error
