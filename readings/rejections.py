"""Recent refused posts, kept so that a device's page can answer "why does it not show up?".

Off the hot path: a post that is refused is put on a short list in memory, and what is on the lists is written a second
later, by a thread of its own, many at a time, equal ones as one row with a count. What cannot be written is dropped.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from django.db import DatabaseError, InterfaceError, connection, transaction

from devices.database import Work
from devices.keys import PREFIX, hash_key, key_hint
from devices.models import Device
from devices.runner import DatabaseRunner

logger = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
# How long writing them may take, in seconds, before they are dropped.
ANSWER_SECONDS = 5.0
# Kinds of refusals that wait to be written; beyond that they are forgotten. A flood is mostly of one kind.
WAITING_MAX = 200
KEPT_OF_A_DEVICE = 20
KEPT_OF_NOBODY = 100
KEPT_IN_ALL = 2000
DETAIL_CHARACTERS = 300
FOREIGN_HINT_CHARACTERS = 3


class Refused(msgspec.Struct, frozen=True):
    """A kind of refusal: what it has in common with those it is counted with.

    `device_id` is empty where the key tells none; then `key_hash` and `key_hint` are of the key that came, if one did.
    """

    device_id: str
    key_hash: str
    key_hint: str
    address: str
    status: int
    code: str
    field: str
    detail: str


class Times(msgspec.Struct):
    last_at: datetime
    count: int = 1


Noted = dict[Refused, Times]


def refused_post(
    *, unknown_key: str | None, device_id: str, address: str, status: int, code: str, field: str = "", detail: str
) -> Refused:
    """As it may be stored: texts cut to their columns, and without what PostgreSQL takes in no text."""
    return Refused(
        device_id=device_id,
        key_hash=hash_key(unknown_key) if unknown_key else "",
        key_hint=hint_of(unknown_key) if unknown_key else "",
        address=plain(address, 45),
        status=status,
        code=plain(code, 40),
        field=plain(field, 80),
        detail=plain(detail, DETAIL_CHARACTERS),
    )


def hint_of(key: str) -> str:
    """Enough to tell by which key of ours it was meant to be; of anything else, next to nothing."""
    return plain(key_hint(key) if key.startswith(PREFIX) else key[:FOREIGN_HINT_CHARACTERS], 16)


def plain(text: str, length: int) -> str:
    return "".join(character if character.isprintable() else "�" for character in text[:length])


def note(noted: Noted, refusal: Refused, *, now: datetime) -> None:
    if times := noted.get(refusal):
        times.count += 1
        times.last_at = now
    elif len(noted) < WAITING_MAX:
        noted[refusal] = Times(now)


class RejectionKeeper:
    """One event loop's list of what was refused, and the task that writes it while there is anything on it."""

    def __init__(self) -> None:
        self.noted: Noted = {}
        self.writing: asyncio.Task[None] | None = None
        self.runner = DatabaseRunner("rejections", work=Work.INGEST, threads=1, seconds=ANSWER_SECONDS, waiting_max=1)

    def note(self, refusal: Refused, *, now: datetime) -> None:
        note(self.noted, refusal, now=now)
        if self.writing is None:
            self.writing = asyncio.create_task(self.write())

    async def write(self) -> None:
        try:
            while self.noted:
                await asyncio.sleep(WRITE_SECONDS)
                noted, self.noted = self.noted, {}
                try:
                    await self.runner.run(keep_or_drop, noted)
                except DatabaseError as error:
                    logger.debug("Refused posts were not kept: %s", error)
        finally:
            self.writing = None


def keep_or_drop(noted: Noted) -> None:
    """Writes them if it can: a database that is away has more important things to be told."""
    try:
        keep(noted)
    except (DatabaseError, InterfaceError) as error:
        logger.debug("Refused posts were not kept: %s", str(error).strip())
    finally:
        if not connection.in_atomic_block:
            connection.close()


def keep(noted: Noted) -> None:
    """Writes them, and deletes what is beyond the bounds. Raises DatabaseError."""
    owners = owners_of(refusal.key_hash for refusal in noted if refusal.key_hash)
    rows: list[tuple[Any, ...]] = []
    for refusal, times in noted.items():
        device_id, detail = owners.get(refusal.key_hash, (refusal.device_id, refusal.detail))
        # Whose key it was is known now, so how it began no longer matters.
        hint = "" if device_id else refusal.key_hint
        moment = connection.ops.adapt_datetimefield_value(times.last_at)
        identity = (device_id, hint, refusal.address, refusal.code, refusal.field)
        rows.append((*identity, refusal.status, detail, times.count, moment, moment))
    rows.sort(key=lambda row: [str(value) for value in row[:5]])  # two that keep the same meet in the same order
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(KEEP, rows)
        cursor.execute(TRIM, [KEPT_OF_NOBODY, KEPT_OF_A_DEVICE, KEPT_IN_ALL])


def owners_of(hashes: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Of keys that are refused although they are known: whose they are, and what is wrong with them."""
    wanted = list(hashes)
    if not wanted:
        return {}
    found = {}
    for device in Device.objects.filter(retiring_key_hash__in=wanted):
        assert device.retiring_key_hash is not None
        found[device.retiring_key_hash] = (device.device_id, ROTATED)
    for device in Device.objects.filter(api_key_hash__in=wanted, is_active=False):
        found[device.api_key_hash] = (device.device_id, INACTIVE)
    return found


ROTATED = "This was the device's key until it was rotated. Give the device the new one."
INACTIVE = "The key is right, but the device is deactivated."

KEEP = """
INSERT INTO readings_rejection (device_id, key_hint, address, code, field, status, detail, count, first_at, last_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (device_id, key_hint, address, code, field) DO UPDATE SET
    status = excluded.status, detail = excluded.detail, count = readings_rejection.count + excluded.count,
    last_at = excluded.last_at
"""
TRIM = """
DELETE FROM readings_rejection WHERE id IN (
    SELECT id FROM (
        SELECT id, device_id, row_number() OVER (PARTITION BY device_id ORDER BY last_at DESC, id DESC) AS place,
               row_number() OVER (ORDER BY last_at DESC, id DESC) AS place_in_all
        FROM readings_rejection
    ) AS ranked
    WHERE place > CASE WHEN device_id = '' THEN %s ELSE %s END OR place_in_all > %s
)
"""
