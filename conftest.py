"""Selects the tests for the database of the run."""

from typing import Any

import pytest
from django.db import connection


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Deselects tests about PostgreSQL if the run is on SQLite; the suite's other run has them."""
    if connection.vendor != "postgresql":
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("postgresql")])
        items[:] = [item for item in items if not item.get_closest_marker("postgresql")]
