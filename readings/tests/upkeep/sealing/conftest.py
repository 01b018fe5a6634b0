import pytest

from readings.tests.logs import at, new, store
from readings.tests.upkeep.sealing.logs import roll_all_up


@pytest.fixture
def log(device):
    """A reading every hour and a half for 24 days: rollups of three blocks, not all of which are full."""
    store(new(timestamp=at(5400 * n), temperature=20 + n / 7, extra={"co2": 400 + n % 3}) for n in range(384))
    roll_all_up()
    return device
