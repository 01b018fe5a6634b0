"""The pure conditions: examples of each kind, and what holds for every series however it is cut."""

import itertools
from datetime import timedelta

import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.tests.examples import examples
from readings.alarms.conditions import silence
from readings.alarms.conditions.rate import PARTS, Rate
from readings.alarms.conditions.silence import Heard, Silent
from readings.alarms.conditions.states import IDLE, PAST_MAX, Opened, Resolved, Run, Sample
from readings.alarms.conditions.stuck import Stuck
from readings.alarms.conditions.threshold import Threshold
from readings.alarms.evaluation.judging import decode_state, encode_state, judge, uneventful
from readings.tests.logs import NOON, at

pytestmark = pytest.mark.once

HOT = Threshold(metric="temperature", above=30)


def samples(*values, late=()):
    """(seconds, value) each; those with a place in `late` are late."""
    return [Sample(at(seconds), value, place in late) for place, (seconds, value) in enumerate(values)]


def alarms(condition, series, state=IDLE):
    """The alarms as (began, opened, resolved) in seconds after noon, and the last worst value."""
    _, events = judge(condition, state, series, now=NOON)
    found = []
    for event in events:
        if isinstance(event, Opened):
            found.append([seconds(event.began_at), seconds(event.opened_at), None])
        else:
            found[-1][2] = seconds(event.resolved_at)
    return [tuple(alarm) for alarm in found]


def seconds(moment):
    return (moment - NOON).total_seconds()


class TestThreshold:
    @pytest.mark.parametrize(
        ("condition", "inside", "beyond"),
        [
            (Threshold(metric="x", above=30), 30, 30.1),
            (Threshold(metric="x", below=5), 5, 4.9),
            (Threshold(metric="x", above=30, below=5), 20, 4),
            (Threshold(metric="x", above=30, below=5), 20, 31),
            (Threshold(metric="x", above=-18), -18, -17.5),
        ],
    )
    def test_a_value_beyond_a_bound_opens_and_one_at_the_bound_does_not(self, condition, inside, beyond):
        assert alarms(condition, samples((0, inside), (1, beyond), (2, inside))) == [(1, 1, 2)]

    def test_it_opens_by_the_reading_at_or_after_the_time_that_it_must_last(self):
        lasting = Threshold(metric="x", above=30, for_seconds=600)

        assert alarms(lasting, samples((0, 31), (599, 31), (600, 31))) == [(0, 600, None)]
        assert alarms(lasting, samples((0, 31), (599, 31), (900, 31))) == [(0, 900, None)]
        assert alarms(lasting, samples((0, 31), (300, 29), (600, 31), (900, 31))) == []
        assert alarms(lasting, samples((0, 31))) == []

    def test_it_ends_only_within_the_margin_and_after_the_time_that_it_must_be_clear(self):
        condition = Threshold(metric="x", above=30, clear_margin=2, clear_for=60)

        assert alarms(condition, samples((0, 31), (10, 29), (100, 29))) == [(0, 0, None)]
        assert alarms(condition, samples((0, 31), (10, 28), (69, 28), (70, 28))) == [(0, 0, 70)]
        assert alarms(condition, samples((0, 31), (10, 28), (50, 29), (80, 28), (139, 28))) == [(0, 0, None)]
        assert alarms(condition, samples((0, 31), (10, 28), (50, 31), (80, 28), (140, 28))) == [(0, 0, 140)]

    def test_a_flapping_value_is_one_alarm_with_a_clear_time(self):
        flapping = samples(*((n * 10, 31 if n % 2 else 29) for n in range(60)))

        assert len(alarms(HOT, flapping)) == 30
        assert len(alarms(Threshold(metric="x", above=30, clear_for=30), flapping)) == 1

    def test_the_worst_value_is_the_one_farthest_beyond(self):
        state, _ = judge(
            Threshold(metric="x", above=30, below=5), IDLE, samples((0, 31), (1, 40), (2, -8), (3, 32)), now=NOON
        )

        assert state.alarm is not None
        assert state.alarm.worst == -8


class TestRate:
    RISE = Rate(metric="x", change=5, per=60)

    def test_a_change_by_more_within_the_time_opens_and_a_slow_one_does_not(self):
        assert alarms(self.RISE, samples((0, 20), (60, 25.1))) == [(60, 60, None)]
        assert alarms(self.RISE, samples((0, 20), (60, 14.9))) == [(60, 60, None)]
        assert alarms(self.RISE, samples((0, 20), (60, 25))) == []
        assert alarms(self.RISE, samples((0, 20), (61, 26))) == []
        assert alarms(self.RISE, samples((0, 20), (30, 23), (59, 25.5))) == [(59, 59, None)]

    def test_it_ends_when_slower_for_the_time(self):
        series = samples((0, 20), (10, 30), (71, 30), (100, 30), (131, 30))

        assert alarms(self.RISE, series) == [(10, 10, 71)]
        assert alarms(Rate(metric="x", change=5, per=60, clear_for=60), series) == [(10, 10, 131)]

    @given(st.lists(st.tuples(st.integers(1, 40), st.integers(-9, 9)), max_size=60))
    def test_it_compares_with_every_value_of_the_time(self, steps):
        """With values farther apart than a point of the window, the outcome is that of the definition."""
        series, moment = [], 0
        for gap, value in steps:
            moment += gap
            series.append((moment, float(value)))
        expected = [
            any(moment - earlier <= 60 and abs(value - other) > 5 for earlier, other in series[:place])
            for place, (moment, value) in enumerate(series)
        ]
        state, fast = IDLE, []
        for sample in samples(*series):
            state, _ = judge(self.RISE, state, [sample], now=NOON)
            fast.append(state.alarm is not None)
        assert fast == expected

    def test_the_window_is_bounded_however_many_values_there_are(self):
        state, _ = judge(self.RISE, IDLE, samples(*((n / 50, n / 1e9) for n in range(20_000))), now=NOON)

        assert state.live is not None
        assert PARTS // 2 < len(state.live.window) <= 2 * PARTS


class TestStuck:
    def test_a_value_that_does_not_change_opens_and_one_that_does_resolves(self):
        stuck = Stuck(metric="x", seconds=600)

        assert alarms(stuck, samples((0, 5), (600, 5), (700, 5.01))) == [(0, 600, 700)]
        assert alarms(stuck, samples((0, 5), (599, 5))) == []
        assert alarms(stuck, samples((0, 5), (300, 6), (600, 6), (899, 6), (900, 6))) == [(300, 900, None)]

    def test_a_change_within_the_tolerance_is_none(self):
        stuck = Stuck(metric="x", seconds=600, tolerance=0.5)

        assert alarms(stuck, samples((0, 5), (300, 5.5), (600, 4.5), (700, 5.6))) == [(0, 600, 700)]


def heard(at_seconds, since=-1000, until=1000):
    return Heard(at=at(at_seconds), listening_since=at(since), listening_until=at(until))


class TestSilence:
    def judged(self, state, what, now=2000):
        return silence.judge(state, what, at(now), allowed_seconds=300, judged_since=NOON - timedelta(days=1))

    def test_a_receipt_and_another_silence_are_two_events(self):
        state, events = self.judged(Silent(at(0)), heard(400))

        assert [type(event).__name__ for event in events] == ["Resolved", "Opened"]
        assert state == Silent(at(400))

    def test_what_is_open_stays_open_once(self):
        assert self.judged(Silent(at(0)), heard(0)) == (Silent(at(0)), [])

    @pytest.mark.parametrize(("since", "opened"), [(-1000, 300), (0, 300), (200, 500), (699, 999), (701, None)])
    def test_it_counts_from_the_end_of_the_last_gap(self, since, opened):
        _, events = self.judged(Silent(), heard(0, since=since))

        assert events == ([Opened(at(0), at(opened), None)] if opened else [])

    @pytest.mark.parametrize(("now", "until", "is_silent"), [(299, 1000, False), (300, 1000, True), (1000, 299, False)])
    def test_it_ends_with_the_clock_and_with_what_could_be_heard(self, now, until, is_silent):
        assert bool(self.judged(Silent(), heard(0, until=until), now=now)[1]) == is_silent


class TestLateValues:
    def test_a_backlog_opens_and_resolves_one_alarm_with_its_own_times(self):
        thaw = [(-3600 + n * 60, 31 if 10 <= n < 20 else -20) for n in range(40)]

        assert alarms(HOT, samples((0, -20), *thaw, (60, -20), late=range(1, 41))) == [(-3000, -3000, -2400)]

    def test_a_late_value_never_ends_an_alarm_that_began_after_it(self):
        assert alarms(HOT, samples((0, 31), (-60, 20), (60, 31), late=[1])) == [(0, 0, None)]
        assert alarms(HOT, samples((0, 31), (100, 31), (50, 20), late=[2])) == [(0, 0, None)]

    def test_a_late_value_does_not_prolong_what_current_values_show(self):
        lasting = Threshold(metric="x", above=30, for_seconds=600)

        assert alarms(lasting, samples((900, 20), (1000, 31), (100, 31), (1010, 31), late=[2])) == []

    def test_late_values_do_not_interrupt_what_current_values_show(self):
        lasting = Threshold(metric="x", above=30, for_seconds=60)
        pairs = samples((0, 31), (-5, 20), (30, 31), (25, 20), (60, 31), late=[1, 3])

        assert alarms(lasting, pairs) == [(0, 60, None)]

    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_values_that_arrive_again_raise_nothing_again(self, times):
        backlog = [(10, 31), (20, 32), (30, 31)]
        series = [(0, 31), (40, 20), *(backlog * times), (50, 20)]

        assert alarms(HOT, samples(*series, late=range(2, 2 + 3 * times))) == [(0, 0, 40)]

    def test_so_do_those_of_several_alarms(self):
        night = [(n * 10, 31 if n % 3 == 0 else 20) for n in range(3 * (PAST_MAX - 1))]
        again = range(len(night), 2 * len(night))

        assert len(alarms(HOT, samples(*night, *night, late=again))) == PAST_MAX - 1


CONDITIONS = st.one_of(
    st.builds(
        Threshold,
        metric=st.just("x"),
        above=st.integers(1, 3).map(float),
        below=st.none() | st.integers(-3, -1).map(float),
        for_seconds=st.sampled_from([0, 1, 20, 60]),
        clear_margin=st.sampled_from([0.0, 1.0]),
        clear_for=st.sampled_from([0, 20, 60]),
    ),
    st.builds(
        Rate,
        metric=st.just("x"),
        change=st.integers(1, 4).map(float),
        per=st.sampled_from([10, 60]),
        clear_for=st.sampled_from([0, 20]),
    ),
    st.builds(Stuck, metric=st.just("x"), seconds=st.sampled_from([20, 60]), tolerance=st.sampled_from([0.0, 1.0])),
)


@st.composite
def series(draw, late=True):
    """Values in the order of a log, some of them late."""
    moment, newest, found = 0, 0, []
    for gap, value, back in draw(
        st.lists(st.tuples(st.integers(0, 40), st.integers(-5, 5), st.integers(0, 9)), max_size=50)
    ):
        moment = moment - 10 * gap if late and back == 0 else moment + gap
        found.append(Sample(at(moment), float(value), moment < newest))
        newest = max(newest, moment)
        if back == 1:
            moment = newest
    return found


@given(CONDITIONS, series(), st.lists(st.integers(0, 50)))
def test_a_series_cut_in_any_way_gives_the_same_events(condition, values, cuts):
    whole, expected = judge(condition, IDLE, values, now=NOON)

    state, events = IDLE, []
    ends = sorted({*(cut for cut in cuts if cut < len(values)), len(values)})
    for start, end in zip([0, *ends], ends, strict=False):
        # A restart: only what is stored goes on.
        state = decode_state(encode_state(state))
        state, more = judge(condition, state, values[start:end], now=at(end))
        events += more
    assert events == expected
    assert state == whole


@given(CONDITIONS, series(), st.integers(0, 50), st.integers(1, 50))
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(100, of=500))
def test_a_run_that_is_judged_as_a_whole_gives_the_state_of_its_values(condition, values, start, length):
    state, _ = judge(condition, IDLE, values[:start], now=NOON)
    following = list(itertools.takewhile(lambda sample: not sample.late, values[start : start + length]))
    if not following:
        return
    numbers = [sample.value for sample in following]

    at_once = uneventful(
        condition, state, Run([sample.at for sample in following], numbers, min(numbers), max(numbers))
    )

    new, events = judge(condition, state, following, now=NOON)
    if at_once is not None:
        assert (at_once, []) == (new, events)


@pytest.mark.parametrize("condition", [HOT, Rate(metric="x", change=5, per=60), Stuck(metric="x", seconds=600)])
def test_usual_values_are_judged_as_a_whole(condition):
    state = IDLE
    for start in range(0, 3000, 300):
        values = [20 + n % 3 for n in range(10)]
        times = [at(start + n * 30) for n in range(10)]
        new = uneventful(condition, state, Run(times, values, 20, 22))
        assert new is not None
        state = new


@given(CONDITIONS, series())
def test_alarms_follow_each_other_and_have_their_times_in_order(condition, values):
    state, events = judge(condition, IDLE, values, now=NOON)

    for place, event in enumerate(events):
        assert isinstance(event, Resolved if place % 2 else Opened)
        if isinstance(event, Opened):
            assert event.began_at <= event.opened_at
        else:
            before = events[place - 1]
            assert isinstance(before, Opened)
            assert event.resolved_at >= before.opened_at
    assert (state.alarm is None) == (len(events) % 2 == 0)
    assert len(msgspec.json.encode(state)) < 20_000


@given(
    st.builds(
        Threshold,
        metric=st.just("x"),
        above=st.just(2.0),
        for_seconds=st.sampled_from([0, 20, 60]),
        clear_margin=st.sampled_from([0.0, 1.0]),
        clear_for=st.sampled_from([0, 20, 60]),
    ),
    series(late=False),
)
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(100, of=300))
def test_values_in_order_give_the_alarms_of_the_definition(condition, values):
    assert alarms(condition, values) == by_definition(condition, values)


def by_definition(condition, values):
    """Looks back from each value over all earlier ones, without any state but whether an alarm is open."""
    found: list[tuple[float, float, float | None]] = []
    for place, sample in enumerate(values):
        earlier = values[: place + 1]
        if not found or found[-1][2] is not None:
            run = trailing(earlier, lambda value: value > condition.above)
            if run and sample.at - run[0].at >= timedelta(seconds=condition.for_seconds):
                found.append((seconds(run[0].at), seconds(sample.at), None))
        else:
            run = trailing(earlier, lambda value: value <= condition.above - condition.clear_margin)
            if run and sample.at - run[0].at >= timedelta(seconds=condition.clear_for):
                found[-1] = (*found[-1][:2], seconds(sample.at))
    return found


def trailing(values, holds):
    """The values at the end for which it holds."""
    run: list[Sample] = []
    for sample in reversed(values):
        if not holds(sample.value):
            break
        run.insert(0, sample)
    return run


def test_a_device_that_said_offline_is_silent_from_then():
    said = NOON
    heard = silence.Heard(
        at=said - timedelta(seconds=10),
        listening_since=said - timedelta(days=1),
        listening_until=said + timedelta(seconds=5),
        said_offline_at=said,
    )
    _, events = silence.judge(
        silence.Silent(), heard, said + timedelta(seconds=5), allowed_seconds=300, judged_since=said - timedelta(days=1)
    )
    assert [event.opened_at for event in events if isinstance(event, Opened)] == [said]
