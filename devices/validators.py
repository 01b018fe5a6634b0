import re
from functools import lru_cache

from django.core.validators import RegexValidator

DEVICE_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"

# \Z, because $ would accept a trailing line feed.
validate_device_id = RegexValidator(
    rf"^{DEVICE_ID_PATTERN}\Z",
    "A device id is 1 to 64 letters, digits and . _ : -, and starts with a letter or a digit.",
    code="invalid_device_id",
)


def is_device_id(text: str) -> bool:
    """Whether `text` is a valid device id. The results for up to 4,096 ids are cached."""
    return len(text) <= 64 and matches(text)


@lru_cache(4096)
def matches(text: str) -> bool:
    return re.fullmatch(DEVICE_ID_PATTERN, text) is not None
