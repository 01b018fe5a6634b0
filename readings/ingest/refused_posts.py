"""Recent refused posts, kept so that a device's page can answer "why does it not show up?".

Off the hot path: a post that is refused is put on a short list in memory, and what is on the lists is written a second
later, by a thread of its own, many at a time, equal ones as one row with a count. What cannot be written is dropped.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from django.db import DatabaseError, InterfaceError, connection, transaction

from devices.database.runner import DatabaseRunner
from devices.database.work import Work
from devices.keys import PREFIX, hash_key, key_hint
from devices.models import Device

logger = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
# How long writing them may take, in seconds, before they are dropped.
ANSWER_SECONDS = 5.0
# Who sent a post: a device with its own key, a gateway with a fleet key, the administrator's key, or an unknown key.
CallerRole = Literal["device", "fleet", "admin", "nobody"]
# Kinds of refusals that wait to be written, a second's worth. What is beyond is forgotten, and counts to whoever sent
# it, so that a flood of one sender costs the others nothing. A sender is a device; of the other callers an address.
WAITING_OF_A_SENDER: dict[CallerRole, int] = {"device": 20, "fleet": 100, "admin": 20, "nobody": 20}
WAITING_OF_A_CALLER: dict[CallerRole, int] = {"device": 400, "fleet": 400, "admin": 20, "nobody": 200}
# Rows that are kept, each share apart: 2,020 in all. "unknown": what gateways sent of devices there are not.
KEPT_OF_A_DEVICE = 20
KEPT_OF_A_SHARE = {"device": 1000, "fleet": 700, "unknown": 200, "admin": 20, "nobody": 100}
DETAIL_CHARACTERS = 300
FOREIGN_HINT_CHARACTERS = 3


class Refused(msgspec.Struct, frozen=True):
    """A kind of refusal: what it has in common with those it is counted with.

    `device_id` is empty where neither the key nor the reading tells one. `key_hash` and `key_hint` are of the key that
    came, where that is unknown. `unknown_device`: it was refused because there is no device of this id.
    """

    caller: CallerRole
    device_id: str
    key_hash: str
    key_hint: str
    address: str
    status: int
    code: str
    field: str
    detail: str
    unknown_device: bool = False

    @property
    def sender(self) -> tuple[CallerRole, str, bool]:
        """Whose bound it counts to. What a gateway sends of unknown devices is counted apart from the rest of it."""
        return self.caller, self.device_id if self.caller == "device" else self.address, self.unknown_device


class Times(msgspec.Struct):
    last_at: datetime
    count: int = 1


class Noted(dict[Refused, Times]):
    """What waits to be written, a bounded number of kinds of each sender."""

    def __init__(self) -> None:
        super().__init__()
        self.of_senders: Counter[tuple[CallerRole, str, bool]] = Counter()
        self.of_callers: Counter[tuple[CallerRole, bool]] = Counter()

    def note(self, refusal: Refused, *, now: datetime) -> None:
        if times := self.get(refusal):
            times.count += 1
            times.last_at = now
            return
        caller, sender, callers = refusal.caller, refusal.sender, (refusal.caller, refusal.unknown_device)
        if (
            self.of_senders[sender] >= WAITING_OF_A_SENDER[caller]
            or self.of_callers[callers] >= WAITING_OF_A_CALLER[caller]
        ):
            return
        self.of_senders[sender] += 1
        self.of_callers[callers] += 1
        self[refusal] = Times(now)


def refused_post(
    *,
    caller: CallerRole,
    unknown_key: str | None = None,
    device_id: str,
    address: str,
    status: int,
    code: str,
    field: str = "",
    detail: str,
    unknown_device: bool = False,
) -> Refused:
    """As it may be stored: texts cut to their columns, and without what PostgreSQL takes in no text."""
    return Refused(
        caller=caller,
        device_id=device_id,
        key_hash=hash_key(unknown_key) if unknown_key else "",
        key_hint=hint_of(unknown_key) if unknown_key else "",
        address=plain(address, 45),
        status=status,
        code=plain(code, 40),
        field=plain(field, 80),
        detail=plain(detail, DETAIL_CHARACTERS),
        unknown_device=unknown_device,
    )


def hint_of(key: str) -> str:
    """Enough to tell by which key of ours it was meant to be; of anything else, next to nothing."""
    return plain(key_hint(key) if key.startswith(PREFIX) else key[:FOREIGN_HINT_CHARACTERS], 16)


def plain(text: str, length: int) -> str:
    return "".join(character if character.isprintable() else "�" for character in text[:length])


class RejectionKeeper:
    """One event loop's list of what was refused, and the task that writes it while there is anything on it."""

    def __init__(self) -> None:
        self.noted = Noted()
        self.writing: asyncio.Task[None] | None = None
        self.runner = DatabaseRunner("rejections", work=Work.INGEST, threads=1, seconds=ANSWER_SECONDS, waiting_max=1)

    def note(self, refusal: Refused, *, now: datetime) -> None:
        self.noted.note(refusal, now=now)
        if self.writing is None:
            self.writing = asyncio.create_task(self.write())

    async def write(self) -> None:
        try:
            while self.noted:
                await asyncio.sleep(WRITE_SECONDS)
                noted, self.noted = self.noted, Noted()
                try:
                    await self.runner.run(keep_or_drop, noted)
                except DatabaseError as error:
                    logger.debug("Refused posts were not kept: %s", error)
                except Exception:
                    logger.exception("Refused posts were not kept")
        finally:
            self.writing = None


def keep_or_drop(noted: Mapping[Refused, Times]) -> None:
    """Writes them if it can: a database that is away has more important things to be told."""
    try:
        keep(noted)
    except (DatabaseError, InterfaceError) as error:
        logger.debug("Refused posts were not kept: %s", str(error).strip())
    finally:
        if not connection.in_atomic_block:
            connection.close()


def keep(noted: Mapping[Refused, Times]) -> None:
    """Writes them, and deletes what is beyond the bounds. Raises DatabaseError."""
    with transaction.atomic(), connection.cursor() as cursor:
        owners = owners_of({refusal.key_hash for refusal in noted if refusal.key_hash})
        named = {refusal.device_id for refusal in noted} | {device_id for device_id, _ in owners.values()}
        registered = lock_registered(named)
        rows = []
        for refusal, times in noted.items():
            if (kept := row_of(refusal, owners.get(refusal.key_hash), registered)) is not None:
                moment = connection.ops.adapt_datetimefield_value(times.last_at)
                rows.append((*kept, times.count, moment, moment))
        rows.sort(key=lambda row: row[:6])  # two that keep the same meet in the same order
        cursor.executemany(KEEP, rows)
        cursor.execute(TRIM, [KEPT_OF_A_DEVICE, *(KEPT_OF_A_SHARE[share] for share in SHARES)])


def row_of(refusal: Refused, owner: tuple[str, str] | None, registered: Collection[str]) -> tuple[Any, ...] | None:
    """The row's columns up to `detail`; None where its device was erased meanwhile: nothing more is kept of that."""
    r = refusal
    # Whose key it was is known now, so how it began no longer matters.
    caller, device_id, hint, detail = (
        ("device", owner[0], "", owner[1]) if owner else (r.caller, r.device_id, r.key_hint, r.detail)
    )
    if device_id not in registered:
        if caller == "device":
            return None
        if not r.unknown_device:
            device_id = ""
    return caller, device_id, hint, r.address, r.code, r.field, r.status, detail


def lock_registered(device_ids: Collection[str]) -> set[str]:
    """Those of these that are devices; none of them can be erased until the transaction ends."""
    wanted = msgspec.json.encode(sorted(device_ids)).decode()
    with connection.cursor() as cursor:
        cursor.execute(REGISTERED if connection.vendor == "postgresql" else REGISTERED_SQLITE, [wanted])
        return {device_id for (device_id,) in cursor.fetchall()}


def owners_of(hashes: Collection[str]) -> dict[str, tuple[str, str]]:
    """Of keys that are refused although they are known: whose they are, and what is wrong with them."""
    if not hashes:
        return {}
    found = {}
    for device in Device.objects.filter(retiring_key_hash__in=hashes):
        assert device.retiring_key_hash is not None
        found[device.retiring_key_hash] = (device.device_id, ROTATED)
    for device in Device.objects.filter(api_key_hash__in=hashes, is_active=False):
        found[device.api_key_hash] = (device.device_id, INACTIVE)
    return found


ROTATED = "This was the device's key until it was rotated. Give the device the new one."
INACTIVE = "The key is right, but the device is deactivated."

# Shared as by an insert that refers to the device; in the order of the ids, so no deadlock.
REGISTERED = """
SELECT device_id FROM devices_device WHERE device_id = ANY(ARRAY(SELECT json_array_elements_text(%s::json)))
ORDER BY device_id FOR KEY SHARE
"""
REGISTERED_SQLITE = "SELECT device_id FROM devices_device WHERE device_id IN (SELECT value FROM json_each(%s))"
KEEP = """
INSERT INTO readings_rejection
    (caller, device_id, key_hint, address, code, field, status, detail, count, first_at, last_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (caller, device_id, key_hint, address, code, field) DO UPDATE SET
    status = excluded.status, detail = excluded.detail, count = readings_rejection.count + excluded.count,
    last_at = excluded.last_at
"""
# Within a share the senders take turns: the last row of each comes first, then the last but one of each, and so on.
# So whoever has most rows loses rows first.
TRIM = """
DELETE FROM readings_rejection WHERE id IN (
    SELECT id FROM (
        SELECT id, share, of_device,
               row_number() OVER (PARTITION BY share ORDER BY of_sender, last_at DESC, id DESC) AS place
        FROM (
            SELECT id, share, last_at,
                   row_number() OVER (PARTITION BY share, sender ORDER BY last_at DESC, id DESC) AS of_sender,
                   row_number() OVER (PARTITION BY share, device_id ORDER BY last_at DESC, id DESC) AS of_device
            FROM (
                SELECT rejection.id, rejection.device_id, rejection.last_at,
                       CASE WHEN caller = 'fleet' AND device.id IS NULL THEN 'unknown' ELSE caller END AS share,
                       CASE WHEN caller = 'device' THEN rejection.device_id ELSE address END AS sender
                FROM readings_rejection AS rejection
                LEFT JOIN devices_device AS device ON device.device_id = rejection.device_id
            ) AS shared
        ) AS counted
    ) AS ranked
    WHERE (share IN ('device', 'fleet') AND of_device > %s)
       OR place > CASE share WHEN 'device' THEN %s WHEN 'fleet' THEN %s WHEN 'unknown' THEN %s
                             WHEN 'admin' THEN %s ELSE %s END
)
"""
SHARES = ("device", "fleet", "unknown", "admin", "nobody")
