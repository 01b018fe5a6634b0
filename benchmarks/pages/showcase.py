"""Fills the database in DATABASE_URL with a fleet and its history, for screenshots and page benchmarks.

python -m benchmarks.pages.showcase --devices 36 --year
"""

import argparse
import math
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry.settings")
django.setup()

from django.db import connection  # noqa: E402

from devices.models import Device, DeviceState  # noqa: E402
from readings.ingest.refused_posts import Times, keep, refused_post  # noqa: E402
from readings.log.entries import NewReading  # noqa: E402
from readings.log.recording import record  # noqa: E402
from readings.upkeep.maintenance import maintain  # noqa: E402

NAMES = [
    *(
        "Greenhouse, north",
        "Greenhouse, south",
        "Cold store 1",
        "Cold store 2",
        "Server room",
        "Roof",
        "Cellar",
        "Attic",
    ),
    *("Workshop", "Boiler", "Well pump", "Loading dock", "Beehive 1", "Beehive 2", "Pond", "Weather mast"),
]
REPORT_SECONDS = 60
DAY_STEP = timedelta(minutes=5)
YEAR_STEP = timedelta(minutes=20)
STORED_AT_ONCE = 5000
# With --year: the histories of the first devices.
LENGTHS = (timedelta(days=365), timedelta(days=31), timedelta(days=31))


def device_id(number: int) -> str:
    return NAMES[number].lower().replace(", ", "-").replace(" ", "-") if number < len(NAMES) else f"node-{number:04}"


def measured(number: int, at: datetime, *, noise: random.Random) -> NewReading:
    """A plausible reading: a daily and a yearly wave, an offset for the device, and a little noise."""
    day = math.sin((at.hour * 3600 + at.minute * 60) / 86_400 * math.tau - 2)
    year = math.sin(at.timetuple().tm_yday / 365 * math.tau - 2)
    temperature = 18 + number % 7 + 3 * day + 6 * year + noise.gauss(0, 0.25)
    extra: dict[str, float] = {"rssi": -55 - number % 30 + noise.randint(-3, 3)}
    if number % 3 == 0:
        extra["soil_moisture"] = round(0.35 + 0.08 * math.sin(at.timestamp() / 200_000) + noise.gauss(0, 0.003), 3)
    return NewReading(
        device_id=device_id(number),
        timestamp=at,
        temperature=round(temperature, 2),
        humidity=round(60 - 9 * day - 5 * year + noise.gauss(0, 0.6), 1),
        voltage=round(4.02 - (number % 9) * 0.03 + noise.gauss(0, 0.004), 3),
        extra=extra,
    )


def history(devices: int, *, now: datetime, year: bool) -> Iterator[NewReading]:
    """Readings of the last 25 hours for each device, with some outages.

    With `year`, a year for the first device and a month for the two after it.
    """
    noise = random.Random(7)
    for number in range(devices):
        # The last two devices have never reported.
        if devices >= 20 and number >= devices - 2:
            continue
        at = now - (LENGTHS[number] if year and number < len(LENGTHS) else timedelta(hours=25))
        outage = now - timedelta(hours=noise.uniform(2, 20))
        while at < now - timedelta(seconds=5):
            if not (number % 4 == 0 and timedelta() < at - outage < timedelta(minutes=70)):
                yield measured(number, at, noise=noise)
            recent = now - at < timedelta(hours=1, minutes=5)
            step = YEAR_STEP if now - at > timedelta(days=2) else DAY_STEP
            at += timedelta(seconds=15) if recent and number == 0 else step


def fill(devices: int, *, year: bool) -> None:
    now = datetime.now(UTC)
    for number in range(devices):
        Device.objects.register(
            device_id=device_id(number),
            name=NAMES[number] if number < len(NAMES) else "",
            report_interval=REPORT_SECONDS,
        )
    waiting: list[NewReading] = []
    for reading in history(devices, now=now, year=year):
        waiting.append(reading)
        if len(waiting) == STORED_AT_ONCE:
            record(waiting, received_at=now)
            waiting.clear()
    record(waiting, received_at=now)
    for number in range(devices):
        if number % 9 == 7:
            silent(number, now - timedelta(minutes=9 + number))
        elif number % 11 == 4:
            silent(number, now - timedelta(seconds=150))
    refusals(now)
    maintain(now=now)


def silent(number: int, since: datetime) -> None:
    states = DeviceState.objects.filter(device_id=device_id(number), last_seq__gt=0)
    states.update(last_seen_at=since)


def refusals(now: datetime) -> None:
    """Stores examples of refused posts."""
    misspelt = refused_post(
        caller="nobody", unknown_key="tlm_Qm7x" + "x" * 28, device_id="", address="192.168.1.57", status=401,
        code="invalid_key",
        detail="Invalid key: it is unknown, expired, revoked, or its device is inactive.",
    )  # fmt: skip
    nan = refused_post(
        caller="device", device_id=device_id(0), address="192.168.1.40", status=400, code="malformed",
        detail="The body is not JSON: JSON is malformed: invalid character (byte 16)",
    )  # fmt: skip
    text = refused_post(
        caller="device", device_id=device_id(0), address="192.168.1.40", status=422, code="invalid",
        field="humidity", detail="humidity: A value is a finite number.",
    )  # fmt: skip
    keep(
        {
            misspelt: Times(now - timedelta(seconds=8), 1243),
            nan: Times(now - timedelta(minutes=42), 3),
            text: Times(now - timedelta(hours=3), 1),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages.showcase")
    parser.add_argument("--devices", type=int, default=36)
    parser.add_argument("--year", action="store_true", help="add a year for the first device, a month for two more")
    options = parser.parse_args()
    fill(options.devices, year=options.year)
    connection.close()


if __name__ == "__main__":
    main()
