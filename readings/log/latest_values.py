"""The newest values of a device in the JSON of its state, as `devices.states.Advance.latest` takes it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from devices.metrics import COLUMNS
from readings.log.entries import StoredReading
from readings.windows import EARLIEST

MICROSECOND = timedelta(microseconds=1)


def by_time(reading: StoredReading) -> tuple[datetime, int]:
    return reading.timestamp, reading.seq


def latest_json(reading: StoredReading, micros: dict[datetime, int]) -> tuple[str, list[str]]:
    """The values of a reading in the form of `Advance.latest`, and those of its metrics that have a column.

    The JSON is formatted by hand for speed, because every commit needs it for each of its devices. `micros` caches
    times as microseconds, because a commit has few different times.
    """
    if (at := micros.get(reading.timestamp)) is None:
        at = micros[reading.timestamp] = microseconds(reading.timestamp)
    place = f",{at},{reading.seq}]"
    columns = []
    text = ""
    if reading.temperature is not None:
        columns.append("temperature")
        text = f',"temperature":[{reading.temperature}{place}'
    if reading.humidity is not None:
        columns.append("humidity")
        text += f',"humidity":[{reading.humidity}{place}'
    if reading.voltage is not None:
        columns.append("voltage")
        text += f',"voltage":[{reading.voltage}{place}'
    for name, value in reading.extra.items():
        text += f',"{name}":[{value}{place}'
    return f"{{{text[1:]}}}", columns


def latest_json_of(
    newest: StoredReading, log: Sequence[StoredReading], micros: dict[datetime, int]
) -> tuple[str, list[str], int, datetime | None]:
    """Like `latest_json`, for several readings: the newest value of each metric.

    Also returns the number of metrics, and the oldest time of these values if it is not that of `newest`, else None.
    """
    text, columns = latest_json(newest, micros)
    present = {*newest.extra, *columns}
    absent = [name for name in COLUMNS if name not in present]
    others: dict[str, StoredReading] = {}  # by metric that the newest reading lacks
    for reading in log:
        names = [name for name in absent if getattr(reading, name) is not None] if absent else []
        if reading.extra and not reading.extra.keys() <= present:
            names += reading.extra.keys() - present
        for name in names:
            if name not in others or by_time(reading) > by_time(others[name]):
                others[name] = reading
    if not others:
        return text, columns, len(present), None
    parts = [text[1:-1]]
    for name, reading in others.items():
        value = getattr(reading, name) if name in COLUMNS else reading.extra[name]
        parts.append(f'"{name}":[{value},{microseconds(reading.timestamp)},{reading.seq}]')
    columns += [name for name in others if name in COLUMNS]
    oldest_at = min(newest.timestamp, *(reading.timestamp for reading in others.values()))
    return f"{{{','.join(parts)}}}", columns, len(present) + len(others), oldest_at


def microseconds(moment: datetime) -> int:
    return (moment - EARLIEST) // MICROSECOND
