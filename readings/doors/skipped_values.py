"""Notes skipped values among the refused posts, where a device's page shows them.

A program that sends text usually sends it with every reading. So each combination of device, name and reason is written
at most every NOTED_SECONDS, with the number of times since.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from threading import Lock

from readings import instruments
from readings.doors.switches import Door
from readings.doors.translation import SKIPPED, Skipped
from readings.ingest.refused_posts import CallerRole, Refused, refused_post

NOTED_SECONDS = 60.0
# Combinations that are remembered. Beyond them the oldest are forgotten, and noted again sooner.
REMEMBERED_MAX = 10_000
# Different skipped values of one request that are noted.
NOTED_OF_A_REQUEST = 10
TITLES = {Door.INFLUX: "InfluxDB", Door.MQTT: "MQTT", Door.LORAWAN: "LoRaWAN", Door.THINGSBOARD: "ThingsBoard"}

Key = tuple[Door, str, str, str]


class Lately:
    """When each combination was noted last, in seconds of a monotonic clock, and how often it occurred since."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.noted: dict[Key, tuple[float, int]] = {}

    def due(self, key: Key, times: int, *, now: float) -> int:
        """Counts this many occurrences. Returns how many to note now, 0 if it was noted lately."""
        with self.lock:
            since, count = self.noted.pop(key, (now - NOTED_SECONDS, 0))
            count += times
            if now - since < NOTED_SECONDS:
                self.noted[key] = since, count
                return 0
            self.noted[key] = now, 0
            if len(self.noted) > REMEMBERED_MAX:
                del self.noted[next(iter(self.noted))]
            return count


lately = Lately()


def skipped_posts(
    skipped: Iterable[tuple[str, Skipped]],
    *,
    door: Door,
    caller: CallerRole,
    address: str,
    status: int,
    now: float,
    limit: frozenset[int] | None = None,
) -> list[tuple[Refused, int]]:
    """Counts skipped values (device id and value), and returns those to note now, each with its number of times.

    `status`: of the answer to the request. `limit`: of a limited token. `now`: seconds of a monotonic clock. At most
    NOTED_OF_A_REQUEST combinations of one call.
    """
    counts = Counter(skipped)
    for code, times in sums(counts).items():
        instruments.DOOR_SKIPPED.labels(door.value, code).inc(times)
    posts: list[tuple[Refused, int]] = []
    for (device_id, value), times in islice(counts.items(), NOTED_OF_A_REQUEST):
        if count := lately.due((door, device_id, value.name, value.code), times, now=now):
            refusal = refused_post(
                caller=caller,
                device_id=device_id,
                address=address,
                status=status,
                code=value.code,
                field=value.name,
                detail=f"{TITLES[door]}, {value.name[:80]}: {SKIPPED[value.code]}",
                limit=limit,
            )
            posts.append((refusal, count))
    return posts


def sums(counts: Counter[tuple[str, Skipped]]) -> Counter[str]:
    codes: Counter[str] = Counter()
    for (_, value), times in counts.items():
        codes[value.code] += times
    return codes
