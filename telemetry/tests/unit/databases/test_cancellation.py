"""Cancelled tasks must end, because on Python 3.11.2 `asyncio.timeout` never fires in one that continues."""

import ast
from pathlib import Path

import pytest
from django.conf import settings

pytestmark = pytest.mark.once

ROOTS = ("telemetry", "devices", "readings", "realtime", "benchmarks")
SOURCES = [path for root in ROOTS for path in sorted((Path(settings.BASE_DIR) / root).rglob("*.py"))]


def catches_it(expression: ast.expr) -> bool:
    """Whether the expression names a class, alone or in a tuple, that catches a cancellation."""
    parts = list(ast.walk(expression))
    named = {part.attr for part in parts if isinstance(part, ast.Attribute)}
    named |= {part.id for part in parts if isinstance(part, ast.Name)}
    return bool(named & {"CancelledError", "BaseException"})


def name_of(function: ast.expr) -> str:
    """The last part of the name of a function that is called; empty for other expressions."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def swallowed(source: str) -> list[int]:
    """The lines that catch a cancellation and do not raise it again."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            if (node.type is None or catches_it(node.type)) and not isinstance(node.body[-1], ast.Raise):
                lines.append(node.lineno)
        elif isinstance(node, ast.Call) and name_of(node.func).endswith("suppress") and any(map(catches_it, node.args)):
            lines.append(node.lineno)
    return lines


def test_no_code_swallows_a_cancellation():
    found = {str(path.relative_to(settings.BASE_DIR)): swallowed(path.read_text()) for path in SOURCES}
    assert len(found) > 200
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept asyncio.CancelledError:\n    pass",
        "try:\n    f()\nexcept (OSError, BaseException) as error:\n    print(error)",
        "try:\n    f()\nexcept:\n    pass",
        "with contextlib.suppress(asyncio.CancelledError):\n    f()",
    ],
)
def test_what_swallows_one_is_found(source):
    assert swallowed(source)
