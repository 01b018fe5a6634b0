"""Fills the database of the environment through the product's write path. Run by `manage.py shell`."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from readings.log.entries import NewReading

BATCH_READINGS = 5_000
# Every hundredth reading arrives two hours late.
LATE = 0.01
LATE_READINGS = 120


def readings(device_id: str, *, end: datetime, days: int, client_ids: bool) -> Iterator[NewReading]:
    """A reading a minute with the jitter of a network, in the order of arrival: four metrics that drift."""
    chance = random.Random(device_id)
    temperature, humidity, voltage = 21.0, 45.0, 4.1
    waiting: list[tuple[int, NewReading]] = []
    begin = end - timedelta(days=days)
    for minute in range(days * 1440):
        temperature += chance.gauss(0, 0.05) + (21 - temperature) * 0.001
        humidity += chance.gauss(0, 0.1) + (45 - humidity) * 0.001
        voltage = voltage - 0.000002 if voltage > 3.3 else 4.1
        reading = NewReading(
            device_id=device_id,
            timestamp=begin + timedelta(minutes=minute, seconds=chance.random() / 2),
            id=UUID(int=chance.getrandbits(128), version=4) if client_ids else None,
            temperature=round(temperature, 2),
            humidity=round(humidity, 1),
            voltage=round(voltage + chance.gauss(0, 0.002), 3),
            extra={"rssi": -60 - chance.randrange(15)},
        )
        if chance.random() < LATE:
            waiting.append((minute + LATE_READINGS, reading))
        else:
            yield reading
        while waiting and waiting[0][0] <= minute:
            yield waiting.pop(0)[1]
    yield from (reading for _, reading in waiting)


def fill(*, end: datetime, devices: int, days: int, client_ids: bool) -> None:
    # Here, because `readings` is also for processes without Django.
    from devices.models import Device
    from readings.log.recording import record

    for number in range(devices):
        device_id = f"sensor-{number}"
        Device.objects.register(device_id=device_id)
        batch: list[NewReading] = []
        for reading in readings(device_id, end=end, days=days, client_ids=client_ids):
            batch.append(reading)
            if len(batch) == BATCH_READINGS:
                record(batch, received_at=end)
                batch = []
        if batch:
            record(batch, received_at=end)
