"""Names and colours of tags: what is valid, and which two names mean the same tag."""

import re
import unicodedata
import zlib
from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db.models import TextChoices

NAME_CHARACTERS = 50
# Maximum numbers: of tags, of the tags of one device, and of tags in one filter.
TAGS_MAX = 1_000
TAGS_OF_DEVICE_MAX = 20
TAGS_IN_FILTER_MAX = 10

# Control characters, invisible ones and every space but the usual one; the separators of lists (`,` `;` and the Greek
# question mark, which Unicode normalises to `;`); quotes and slashes, because names are cells of CSV and parts of URLs.
FORBIDDEN = r'\x00-\x1f\x7f-\xa0\xad",;/\\\u037e\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff'
# For Python and for JSON Schema: no space or dot at the beginning, no space at the end.
TAG_PATTERN = rf"[^{FORBIDDEN} .](?:[^{FORBIDDEN}]{{0,{NAME_CHARACTERS - 2}}}[^{FORBIDDEN} ])?"
INVALID = (
    f"A tag is 1 to {NAME_CHARACTERS} characters: letters, digits, spaces and signs, but no comma, semicolon, "
    "quotation mark or slash. It does not begin with a dot or a space, or end with a space."
)

matches = re.compile(TAG_PATTERN).fullmatch


class Colour(TextChoices):
    """The pages have a readable shade of each for light and for dark."""

    GREY = "grey"
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    TEAL = "teal"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"


def is_tag_name(text: str) -> bool:
    return matches(text) is not None


def validate_tag_name(text: str) -> None:
    """Raises Django's ValidationError, code `invalid_tag`."""
    if not is_tag_name(text):
        raise ValidationError(INVALID, code="invalid_tag")


def normalised(name: str) -> str:
    """The name as it is stored: composed (Unicode NFC), because macOS writes the same letters in two parts."""
    return unicodedata.normalize("NFC", name)


def key_of(name: str) -> str:
    """What two names of the same tag have in common: upper and lower case and the number of spaces do not matter."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", " ".join(folded.split()))


def distinct(names: Iterable[str]) -> dict[str, str]:
    """The names by key, in the order of the keys; of the same tag the first name."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(key_of(name), normalised(name))
    return dict(sorted(found.items()))


def split_names(text: str) -> list[str]:
    """The names in a text that people write: separated by commas or semicolons, spaces around them do not matter."""
    return [name for part in re.split("[,;\n]", text) if (name := part.strip())]


def usual_colour(name: str) -> Colour:
    """The colour of a tag that was made without one: always the same for a name."""
    colours = [colour for colour in Colour if colour is not Colour.GREY]
    return colours[zlib.crc32(key_of(name).encode()) % len(colours)]
