"""What is exported as CSV, rewritten as other programs would, and imported into another device, comes out the same."""

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.examples import examples
from readings.ingest.csv_import.cells import ABSENT
from readings.log.entries import NewReading
from readings.tests.imports import Outcome, exported_rows
from readings.tests.logs import store

pytestmark = [pytest.mark.django_db, pytest.mark.once]

METRICS = ("temperature", "humidity", "voltage", "pm2_5", "rssi")
EXTRA = ("pm2_5", "rssi")
number = count()

doubles = st.floats(-1e300, 1e300).map(lambda value: value + 0.0)  # -0.0 is stored as 0.0
whole = st.integers(-(2**53), 2**53)
values = st.fixed_dictionaries(
    {}, optional={name: doubles | whole.map(float) for name in METRICS[:3]} | dict.fromkeys(EXTRA, doubles | whole)
).filter(bool)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
times = st.integers(0, 1_778_000_000 * 10**6).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds))
logs = st.dictionaries(times, values, min_size=1, max_size=8)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    log=logs,
    separator=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
    absent=st.sampled_from(sorted(ABSENT)),
    offset=offsets | st.none(),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
@example(
    log={
        datetime(2026, 1, 1, tzinfo=UTC): {"temperature": 5e-324, "pm2_5": 2**53, "rssi": 1e300, "voltage": 0.1 + 0.2}
    },
    separator=",",
    decimal=",",
    absent="na",
    offset=None,
    end="\n",
    mark=True,
)
@pytest.mark.examples
@settings(max_examples=examples(3, of=10), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_log_comes_back_as_it_was(tmp_path, log, separator, decimal, absent, offset, end, mark):
    source, target = (f"device-{next(number)}" for _ in range(2))
    for device_id in (source, target):
        Device.objects.register(device_id=device_id)
    store(
        NewReading(
            source,
            timestamp,
            **{name: value for name, value in metrics.items() if name not in EXTRA},
            extra={name: value for name, value in metrics.items() if name in EXTRA},
        )
        for timestamp, metrics in log.items()
    )
    exported = list(exported_rows(source))

    file = io.StringIO()
    names = list(exported[0])
    writer = csv.writer(file, delimiter=separator, lineterminator=end)
    writer.writerow(names)
    for row in exported:
        moment = datetime.fromisoformat(row["timestamp"])
        changed = {
            name: (row[name].replace(".", decimal) if row[name] else absent) for name in names if name in METRICS
        }
        changed["timestamp"] = (moment.astimezone(offset) if offset else moment.replace(tzinfo=None)).isoformat()
        writer.writerow([changed.get(name, row[name]) for name in names])
    path = tmp_path / f"{target}.csv"
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + file.getvalue().encode())
    outcome = Outcome(
        path, "--device", target, "--ignore", "device_id", "--ignore", "id", "--decimal", decimal, "--tz", "UTC"
    )
    assert not outcome.failure
    assert outcome.said.startswith(f"{len(log)} stored, 0 stored before, 0 refused")

    assert [without_identity(row) for row in exported_rows(target)] == [without_identity(row) for row in exported]
    assert len(exported) == len(log)


def without_identity(row: dict[str, str]) -> dict[str, str]:
    return {name: cell for name, cell in row.items() if name not in ("id", "seq", "device_id")}
