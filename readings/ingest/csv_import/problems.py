"""What is wrong with a file, or with one of its rows."""

from collections.abc import Sequence
from typing import NamedTuple


class InvalidFile(Exception):
    """The import ends here. The message says why and where; `proposed` are options with which it could go on."""

    def __init__(self, detail: str, proposed: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.proposed = list(proposed)


class Problem(NamedTuple):
    """Why the row that begins on this line is not stored. The first line of the file is line 1."""

    line: int
    field: str
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.detail}" if self.field else f"line {self.line}: {self.detail}"


def quoted(text: str) -> str:
    """The text in quotes, at most 40 characters of it."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
