from collections.abc import Callable
from pathlib import Path

import pytest

from readings.tests.imports import Outcome


@pytest.fixture
def bring(tmp_path: Path) -> Callable[..., Outcome]:
    """Imports a file with this content and these options of the command."""

    def bring_in(text: str | bytes, *arguments: str) -> Outcome:
        file = tmp_path / "history.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Outcome(file, *arguments)

    return bring_in
