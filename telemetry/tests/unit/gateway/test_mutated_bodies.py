"""Mutated ingest bodies: no 5xx, and only valid readings are accepted.

FUZZ_BODIES: their number; `make fuzz` sends 10,000, which takes a minute. They go through the ingest lane.
"""

import asyncio
import json
import math
import os
import random
import re
from collections import Counter

import pytest

from devices.metrics import COLUMNS, RESERVED
from devices.tests.fixtures import FLEET_KEY
from readings.models import Reading
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = pytest.mark.django_db(transaction=True)

BODIES = int(os.environ.get("FUZZ_BODIES", "600"))
# The quick suite sends the same bodies each time.
SEED = random.SystemRandom().getrandbits(32) if "FUZZ_BODIES" in os.environ else 1
AT_A_TIME = 20

NAMES = ["temperature", "humidity", "voltage", "rssi", "co2_ppm", "id", "device_id", "age_seconds", "seq", "timestamp"]
ODD_NAMES = [
    "",
    "Temperature",
    "a" * 63,
    "a" * 64,
    "1st",
    "a-b",
    "ä",
    "a\x00",
    "__proto__",
    "constructor",
    "\ud83d\ude00",
]
ODD_VALUES = [
    *(None, True, False, 0, -0.0, 1e300, -1e300, 1e-320, 2**53, 2**64, -(2**63), 10**400, [], {}, [1], {"a": 1}, ""),
    *(
        "12.5",
        "+3",
        "1e5",
        "1e999",
        "nan",
        "Infinity",
        "0x10",
        "１２",
        "12 ",
        " 12",
        "1_000",
        "abc",
        "\x00",
        "a" * 5000,
    ),
    *("0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b", "0198C5A07B1E7C3A9F002B1D4E5F6A7B", "mote-1", "mote-2", "mote 1", "-1"),
    *("2026-05-09T10:00:00Z", 31 * 86_400, 31 * 86_400 + 1, -1, 0.1),
]
RAW = [
    b"NaN",
    b"Infinity",
    b"1e999",
    b"-",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"\x00",
    b"\xff",
    b"\xc0\xaf",
    b"//",
    b"0x1",
]
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
OUTCOMES = {200, 201, 207, 400, 403, 422}


def bent(chance: random.Random) -> tuple[str, bytes]:
    """A path, and a body for it: valid, unusual, or not JSON."""
    readings = [reading(chance) for _ in range(chance.choice((1, 1, 2, 5, 40)))]
    if chance.random() < 0.5:
        return "/ingest", damaged(encoded(readings[0]), chance)
    document = chance.choice(
        (readings, {"readings": readings}, [readings], {"readings": readings, "more": 1}, readings[0])
    )
    return "/ingest/batch", damaged(encoded(document), chance)


def reading(chance: random.Random) -> object:
    if chance.random() < 0.02:
        return chance.choice(ODD_VALUES)
    document: dict[str, object] = {
        "device_id": chance.choice(("mote-1", "mote-2")),
        "temperature": round(chance.uniform(-40, 60), 2),
    }
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3, 40))):
        name = chance.choice(NAMES) if chance.random() < 0.7 else chance.choice([*ODD_NAMES, f"m{chance.random()}"[:9]])
        document[name] = chance.choice(ODD_VALUES) if chance.random() < 0.6 else chance.uniform(-100, 100)
    if chance.random() < 0.1:
        document.pop(chance.choice(list(document)))
    return document


def encoded(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def damaged(body: bytes, chance: random.Random) -> bytes:
    """The body unchanged in two of three cases, else cut, doubled, or with bytes replaced or inserted."""
    if chance.random() < 0.66:
        return body
    place = chance.randrange(len(body) + 1)
    damage = chance.choice(RAW) if chance.random() < 0.7 else bytes([chance.randrange(256)])
    return chance.choice(
        (body[:place], body + body, body[:place] + damage + body[place:], body[:place] + damage + body[place + 1 :])
    )


def metrics_of(entry: Reading) -> dict[str, float]:
    columns = {name: getattr(entry, name) for name in COLUMNS}
    extra = dict(entry.extra)
    return extra | {name: value for name, value in columns.items() if value is not None}


def accepted_in(answer: dict[str, object]) -> int:
    if "accepted" in answer:
        return int(str(answer["accepted"]))
    return 0 if answer.get("duplicate") else 1


def test_no_bent_body_breaks_anything(mote, other_device):
    chance = random.Random(SEED)
    statuses: Counter[int] = Counter()
    accepted = 0
    singles: dict[str, bytes] = {}

    async def post(client, path, body):
        headers = {"X-API-Key": FLEET_KEY, "Content-Type": "application/json"}
        return body, await client.post(path, content=body, headers=headers)

    async def story(client):
        nonlocal accepted
        for _ in range(BODIES // AT_A_TIME):
            for body, answer in await asyncio.gather(*(post(client, *bent(chance)) for _ in range(AT_A_TIME))):
                assert answer.status_code in OUTCOMES, (SEED, body, answer.text)
                statuses[answer.status_code] += 1
                if answer.is_success:
                    accepted += accepted_in(answer.json())
                if answer.status_code == 201 and "seq" in answer.json():
                    singles[answer.json()["id"]] = body

    through_the_lane(story)

    stored = list(Reading.objects.all())
    assert len(stored) == accepted
    assert statuses[201] > BODIES / 10, statuses
    assert statuses[400] + statuses[422] > BODIES / 10, statuses
    for entry in stored:
        metrics = metrics_of(entry)
        assert metrics, (SEED, entry.pk)
        assert len(entry.extra) <= 32
        for name, value in metrics.items():
            assert NAME.fullmatch(name), (SEED, name)
            assert type(value) in (int, float), (SEED, name, value)
            assert math.isfinite(value), (SEED, name, value)
        if body := singles.get(str(entry.pk)):
            sent = json.loads(body)
            # Compared as doubles, because PostgreSQL returns 1e300 as an integer of 301 digits.
            assert {name: float(value) for name, value in metrics.items()} == {
                name: float(sent[name]) for name in sent if name not in RESERVED and sent[name] is not None
            }
    for device_id in ("mote-1", "mote-2"):
        seqs = sorted(entry.seq for entry in stored if entry.device_id == device_id)
        assert seqs == list(range(1, len(seqs) + 1))
