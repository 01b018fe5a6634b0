"""Work that is repeated takes a limited part of the time."""

import pytest

from readings.upkeep.passes import Pace


@pytest.mark.parametrize(
    ("share", "seconds", "took", "pause"), [(1.0, 0, 0.5, 0.5), (0.01, 0, 0.5, 50), (0.01, 2, 0.001, 2), (0.5, 2, 3, 6)]
)
def test_repeated_work_takes_at_most_its_share_of_the_time(share, seconds, took, pause):
    pace = Pace(share, seconds=seconds)
    assert pace.is_due(0.0)
    pace.took(10.0, 10.0 + took)
    assert not pace.is_due(10.0 + pause - 0.01)
    assert pace.is_due(10.0 + pause)
