r"""The grammar of line protocol, as InfluxDB's own parser and its documentation have it."""

import contextlib
import math
import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readings.doors.influx import joining
from readings.doors.influx.line_protocol import InvalidLine, lines_of, number, parse_line, parse_series
from readings.doors.influx.quick_fields import quick_fields
from readings.doors.influx.quick_lines import quick_lines
from readings.doors.translation import NAME, RANGE, TEXT

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("line", "values", "time"),
    [
        ("weather,location=us-midwest temperature=82 1465839830100400200", {"temperature": 82}, 1465839830100400200),
        ("weather temperature=82", {"temperature": 82}, None),
        ("weather temperature=82.5,humidity=71i -1", {"temperature": 82.5, "humidity": 71}, -1),
        ("m a=1i,b=-2i,c=3u", {"a": 1, "b": -2, "c": 3}, None),
        ("m a=t,b=T,c=true,d=True,e=TRUE", {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, None),
        ("m a=f,b=F,c=false,d=False,e=FALSE", {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}, None),
        (
            "m a=1.,b=.5,c=+1,d=1e3,e=1E-3,f=-0.0,g=007",
            {"a": 1.0, "b": 0.5, "c": 1.0, "d": 1e3, "e": 0.001, "f": 0.0, "g": 7},
            None,
        ),
        ("m  a=1  12", {"a": 1}, 12),
        (r"m a\,b=1,a\=c=2,a\ d=3,e\f=4 7", {"a,b": 1, "a=c": 2, "a d": 3, r"e\f": 4}, 7),
        (r"we\ at\,her,t=x a=1", {"a": 1}, None),
        ('m "a"=1', {'"a"': 1}, None),
        ("m °C=21.5,温度=2", {"°C": 21.5, "温度": 2}, None),
        ("m a=9007199254740993i", {"a": 9007199254740992.0}, None),
    ],
)
def test_a_valid_line_is_read(line, values, time):
    parsed = parse_line(line)

    assert (parsed.values, parsed.skipped, parsed.time) == (values, [], time)
    assert {name: type(value) for name, value in parsed.values.items()} == {n: type(v) for n, v in values.items()}
    assert all(math.copysign(1, value) == 1 for value in parsed.values.values() if value == 0)


@pytest.mark.parametrize(
    ("line", "skipped", "values"),
    [
        ('m a="on",b=1', [("a", TEXT)], {"b": 1}),
        ('m a="o n, x=1 \\" \\\\",b=1 5', [("a", TEXT)], {"b": 1}),
        ('m a=""', [("a", TEXT)], {}),
        ('m a="two\nlines",b=2', [("a", TEXT)], {"b": 2}),
        ('m a="12"', [("a", TEXT)], {}),
        ("m a=1e400,b=2", [("a", RANGE)], {"b": 2}),
        ("m a=-1e301,b=2", [("a", RANGE)], {"b": 2}),
        ("m a=1,a=2", [("a", NAME)], {"a": 2}),
    ],
)
def test_what_is_no_metric_is_named_and_the_rest_is_read(line, skipped, values):
    parsed = parse_line(line)

    assert (parsed.skipped, parsed.values) == (skipped, values)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("weather", "missing fields"),
        ("weather,location=us", "missing fields"),
        (r"weather\ a=1", "missing fields"),
        ("weather a", "invalid field format"),
        ("weather a=", "missing field value"),
        ("weather =1", "missing field key"),
        ("weather a=1,", "missing field key"),
        ("weather a=1,,b=2", "missing field key"),
        ("weather a=1, b=2", "missing field key"),
        ("weather a=NaN", "invalid number"),
        ("weather a=-Inf", "invalid number"),
        ("weather a=inf", "invalid number"),
        ("weather a=1_000", "invalid number"),
        ("weather a=0x1F", "invalid number"),
        ("weather a=1.5i", "invalid number"),
        ("weather a=1e2i", "invalid number"),
        ("weather a=-1u", "value out of range"),
        ("weather a=9223372036854775808i", "value out of range"),
        ("weather a=99999999999999999999999i", "invalid number"),
        ("weather a=18446744073709551616u", "value out of range"),
        ("weather a=١", "invalid boolean"),
        ("weather a=yes", "invalid boolean"),
        ("weather a=tRUE", "invalid boolean"),
        ("weather a=null", "invalid boolean"),
        ("weather a=1=2", "invalid number"),
        ("weather a=\t1", "invalid boolean"),
        ('weather a="on', "unbalanced quotes"),
        ('weather a="on"x', "invalid field format"),
        ('weather a=1"x"', "unbalanced quotes"),
        ("weather a=1 abc", "bad timestamp"),
        ("weather a=1 1.5", "bad timestamp"),
        ("weather a=1 1 2", "bad timestamp"),
        ("weather a=1 12345678901234567890", "bad timestamp"),
        ("weather a=1 b=2", "bad timestamp"),
    ],
)
def test_an_invalid_line_is_refused_with_the_reason(line, why):
    with pytest.raises(InvalidLine, match=why):
        parse_line(line)


@pytest.mark.parametrize(
    ("series", "measurement", "tags"),
    [
        ("weather", "weather", {}),
        ("weather,location=us-midwest,season=summer", "weather", {"location": "us-midwest", "season": "summer"}),
        (r"we\ at\,her=x,lo\=c=us\ mid\,west", "we at,her=x", {"lo=c": "us mid,west"}),
        (r"weather,path=C:\temp", "weather", {"path": r"C:\temp"}),
        ('weather,name="quoted"', "weather", {"name": '"quoted"'}),
    ],
)
def test_a_series_is_read(series, measurement, tags):
    assert parse_series(series) == (measurement, tags)


@pytest.mark.parametrize(
    ("series", "why"),
    [
        (",a=b", "missing measurement"),
        ("m,", "missing tag key"),
        ("m,=b", "missing tag key"),
        ("m,a", "missing tag value"),
        ("m,a=", "missing tag value"),
        ("m,a=b=c", "invalid tag format"),
        ("m,a=b,a=c", "duplicate tags"),
        ("m,a=b,", "missing tag key"),
    ],
)
def test_an_invalid_series_is_refused_with_the_reason(series, why):
    with pytest.raises(InvalidLine, match=why):
        parse_series(series)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb\n", ["a", "b", ""]),
        ('m a="x\ny",b=1\nn c=2', ['m a="x\ny",b=1', "", "n c=2"]),
        ('m a="x\n\n\\"\ny"\nn c=2', ['m a="x\n\n\\"\ny"', "", "", "", "n c=2"]),
        ('m,t=" a=1\nn b=2', ['m,t=" a=1', "n b=2"]),
        ('m a="open\nn b=2\no c=3', ['m a="open', "n b=2", "o c=3"]),
        ("# it's \"fine\nn b=2", ["# it's \"fine", "n b=2"]),
        ('m a="1"\nn b="2"', ['m a="1"', 'n b="2"']),
    ],
)
def test_a_quoted_text_may_have_several_lines_and_an_open_quote_costs_one(text, lines):
    assert list(lines_of(text)) == lines


def test_open_quotes_take_linear_time():
    """A minute if every line searched all that follow."""
    assert sum(1 for _ in lines_of('m a="\n' * 100_000)) == 100_001


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\n\\"), min_size=1, max_size=8
).filter(lambda name: name.strip() == name)
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda n: (f"{n}i", n)),
    st.integers(0, 2**64 - 1).map(lambda n: (f"{n}u", n)),
    st.floats(-1e300, 1e300).map(lambda x: (repr(x), x)),
    st.integers(-(10**17), 10**17).map(lambda n: (str(n), n)),
    st.sampled_from([("t", 1), ("False", 0), ("TRUE", 1)]),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10).map(
    lambda text: ('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"', None)
)


def escaped(name, delimiters):
    return "".join(f"\\{c}" if c in delimiters else c for c in name)


@given(
    measurement=names,
    tags=st.dictionaries(names, names, max_size=3),
    fields=st.dictionaries(names, st.one_of(numbers, texts), min_size=1, max_size=5),
    time=st.none() | st.integers(-(2**63), 2**63 - 1),
)
def test_what_is_written_as_documented_is_read_again(measurement, tags, fields, time):
    series = ",".join(
        [escaped(measurement, ", "), *(f"{escaped(k, ',= ')}={escaped(v, ',= ')}" for k, v in tags.items())]
    )
    written = ",".join(f"{escaped(name, ',= ')}={text}" for name, (text, _) in fields.items())
    line = f"{series} {written}" + ("" if time is None else f" {time}")

    parsed = parse_line(line)

    assert next(lines_of(line)) == line
    assert parse_series(parsed.series) == (measurement, tags)
    assert parsed.values == {name: float(value) for name, (_, value) in fields.items() if value is not None}
    assert parsed.skipped == [(name, TEXT) for name, (_, value) in fields.items() if value is None]
    assert parsed.time == time


@given(st.text(st.sampled_from('ab=1,.ieu+-t" \\\t0\n'), max_size=24))
@example("a=1i,b=2.5i")
@example("a=-0.0")
@example("a==,,c=1")
def test_the_quick_way_reads_what_the_grammar_reads(text):
    quick = quick_fields(text) if text else None
    if quick is None or "\\" in text or " " in text or "\n" in text:
        return
    # A space before the fields more than usual makes the line go the other way.
    parsed = parse_line(f"m  {text}")

    assert (parsed.values, parsed.skipped) == (quick, [])
    assert list(map(repr, parsed.values.values())) == list(map(repr, quick.values()))


@given(st.text(st.sampled_from('mab=1,.iu" \\#\r\t0-9é'), max_size=40))
def test_any_text_is_a_line_or_a_refusal(text):
    try:
        parsed = parse_line(text)
        parse_series(parsed.series)
    except InvalidLine:
        return
    assert parsed.values or parsed.skipped


@pytest.mark.parametrize("text", ["1" * 5000, "-" * 5000, "1." + "0" * 5000, "1e" + "9" * 5000, "9" * 5000 + "i"])
def test_long_numbers_are_read_in_linear_time(text):
    with contextlib.suppress(InvalidLine):
        number(text)


USUAL = ["a=1", "b=2.5", "c=-3i", "value=4", "y=-0.5"]
PIECES = [*USUAL, "a=7i", "t=true", 's="x y"', "z=-0", "z=-0.0", "e=1e3", "o=1.5i", "=1", "n=", "n=01", "u=5u", "#=1"]
PIECES += ["big=9007199254740993i", "huge=1e301", "q\\,r=1", "x=1=2", "w=+1", "d=.5"]
SERIES = [
    "m",
    "m,device=d1",
    "m,device=d2,room=a",
    "m,device=",
    "m\\ n,device=d1",
    ",device=d1",
    "#m",
    "value,device=d1",
]
TIMES = ["1700000000000", "1700000000001", "", "x", "-5", "1.5", "01", "99999999999999999999", "1700000000000 "]


def test_lines_that_are_decoded_together_give_the_same_as_one_by_one(monkeypatch):
    chosen = random.Random(7)
    at = datetime.fromtimestamp(1_700_000_100, UTC)
    quick = 0
    for common in (0.5, 0.97, 1.0):
        for _ in range(150):
            lines = []
            for _ in range(chosen.randrange(1, 9)):
                usual = chosen.random() < common
                pieces = USUAL if usual else PIECES
                fields = ",".join(chosen.sample(pieces, chosen.randrange(1, 5)))
                series, time = (SERIES[:2], TIMES[:2]) if usual else (SERIES, TIMES)
                lines.append(f"{chosen.choice(series)} {fields} {chosen.choice(time)}".rstrip(chosen.choice(" \r")))
            body = "\n".join(lines).encode()
            found = []
            for together in (True, False):
                with monkeypatch.context() as patched:
                    if not together:
                        patched.setattr(joining, "quick_lines", lambda _: None)
                    parameters: Any = {"unit_ns": 10**6, "device_tags": ("device",), "received_at": at}
                    found.append(joining.join_lines(body, "", device_id=None, **parameters))
            assert msgspec.structs.asdict(found[0]) == msgspec.structs.asdict(found[1]), body
            quick += quick_lines(lines) is not None
    assert quick > 100
