"""Numbers on pages: the console's, in Python, are the same as those of the pages' JavaScript."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devices.metrics import LARGEST_VALUE, shown

pytestmark = pytest.mark.once

# Also used by realtime/tests/javascript/format.test.js.
CASES = json.loads((Path(__file__).parents[1] / "javascript/numbers.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_a_number_is_shown_as_people_write_it(case):
    value, text, *decimals = case
    assert shown(value, *decimals) == text


@given(st.floats(-1e6, 1e6), st.integers(0, 10))
@example(-0.0, 0)
def test_a_number_has_the_decimals_that_are_asked_for(value, decimals):
    text = shown(value, decimals)
    assert len(text.partition(".")[2]) == decimals
    assert abs(float(text.replace(",", "")) - value) <= 0.5001 * 10.0**-decimals
    assert not (text.startswith("-") and float(text.replace(",", "")) == 0)


@given(st.floats(-LARGEST_VALUE, LARGEST_VALUE) | st.integers(-(2**53), 2**53).map(float) | st.floats(-1e5, 1e5))
@example(-0.0)
def test_no_number_loses_a_digit_before_its_point(value):
    text = shown(value)
    read = float(text.replace(",", ""))
    assert text != "-0"
    assert abs(read - value) <= abs(value) * 5.1e-4
    if value == int(value) and abs(value) <= 2**53:
        assert read == value
