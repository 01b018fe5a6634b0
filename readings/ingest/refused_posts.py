"""Stores recent refused posts, so that a device's page can show why its readings do not arrive.

This costs the answer no time: a refused post is added to a bounded list in memory. A separate thread writes the list
WRITE_SECONDS later, many posts in one transaction, equal ones as one row with a count. If that fails, they are dropped.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from django.db import DatabaseError, InterfaceError, connection, transaction

from devices.database.runner import DatabaseRunner
from devices.database.work_kinds import Work
from devices.keys import PREFIX, hash_key, key_hint
from devices.models import Device
from devices.querysets import visible_ids
from readings.querysets import SKIPPED_PREFIX

logger = logging.getLogger(__name__)

# How long a refused post waits in memory before it is written, in seconds.
WRITE_SECONDS = 1.0
# Maximum time to write the refused posts, in seconds; then they are dropped.
ANSWER_SECONDS = 5.0
# Who sent a post: a device with its own key, a gateway with a fleet key, the administrator's key, or an unknown key.
CallerRole = Literal["device", "fleet", "token", "admin", "nobody"]
# Maximum number of different refusals that wait to be written, per sender and per role; more are dropped. The limit per
# sender protects the refusals of the others. The sender is the device, or the IP address for other roles.
WAITING_OF_A_SENDER: dict[CallerRole, int] = {"device": 20, "fleet": 100, "token": 100, "admin": 20, "nobody": 20}
WAITING_OF_A_CALLER: dict[CallerRole, int] = {"device": 400, "fleet": 400, "token": 400, "admin": 20, "nobody": 200}
# Maximum number of stored rows per share, 2,320 in total. "unknown": posts of gateways for devices that do not exist;
# "skipped": values that a door did not store, which some programs send with each reading.
KEPT_OF_A_DEVICE = 20
KEPT_OF_A_SHARE = {"device": 1000, "fleet": 700, "unknown": 200, "admin": 20, "nobody": 100, "skipped": 300}
DETAIL_CHARACTERS = 300
# The parts of a detail that differ from post to post although the reason is the same: the place in the body, its size,
# and the time to wait. Without them such posts share a row, and do not displace the rows of other reasons.
VARYING = re.compile(r" \(byte \d+\)|; this one has \d+|\.? Expected available in \d+ seconds?(?=\.)")
FOREIGN_HINT_CHARACTERS = 3


Share = Literal["refused", "unknown", "skipped"]


class Refused(msgspec.Struct, frozen=True):
    """A refusal, or a value that a door skipped: its code begins with SKIPPED_PREFIX. Equal ones are counted together.

    `device_id` is empty if neither the key nor the reading identifies a device. `key_hash` and `key_hint` are set only
    for an unknown key. `unknown_device`: the post was refused because there is no device with this id.
    `limit`: of the token, if it is limited to tags. It may name devices that are not its own.
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
    limit: frozenset[int] | None = None

    @property
    def share(self) -> Share:
        """What its limits count it with: posts of gateways for unknown devices, and skipped values, are separate."""
        return "unknown" if self.unknown_device else "skipped" if self.code.startswith(SKIPPED_PREFIX) else "refused"

    @property
    def sender(self) -> tuple[CallerRole, str, Share]:
        """The sender whose limit applies."""
        return self.caller, self.device_id if self.caller == "device" else self.address, self.share


class Times(msgspec.Struct):
    last_at: datetime
    count: int = 1


class Noted(dict[Refused, Times]):
    """The refusals that wait to be written, a bounded number per sender and per role."""

    def __init__(self) -> None:
        super().__init__()
        self.of_senders: Counter[tuple[CallerRole, str, Share]] = Counter()
        self.of_callers: Counter[tuple[CallerRole, Share]] = Counter()

    def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        if times := self.get(refusal):
            times.count += count
            times.last_at = now
            return
        caller, sender, callers = refusal.caller, refusal.sender, (refusal.caller, refusal.share)
        if (
            self.of_senders[sender] >= WAITING_OF_A_SENDER[caller]
            or self.of_callers[callers] >= WAITING_OF_A_CALLER[caller]
        ):
            return
        self.of_senders[sender] += 1
        self.of_callers[callers] += 1
        self[refusal] = Times(now, count)


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
    limit: frozenset[int] | None = None,
) -> Refused:
    """A refusal with texts cut to the length of their columns, and without characters that PostgreSQL refuses.

    Its detail is without the parts that vary from post to post.
    """
    return Refused(
        caller=caller,
        device_id=device_id,
        key_hash=hash_key(unknown_key) if unknown_key else "",
        key_hint=hint_of(unknown_key) if unknown_key else "",
        address=plain(address, 45),
        status=status,
        code=plain(code, 40),
        field=plain(field, 80),
        detail=plain(VARYING.sub("", detail), DETAIL_CHARACTERS),
        unknown_device=unknown_device,
        limit=limit,
    )


def hint_of(key: str) -> str:
    """The first characters of a key: enough to recognise one of our keys; fewer of any other text."""
    return plain(key_hint(key) if key.startswith(PREFIX) else key[:FOREIGN_HINT_CHARACTERS], 16)


def plain(text: str, length: int) -> str:
    return "".join(character if character.isprintable() else "�" for character in text[:length])


class RejectionKeeper:
    """The list of refused posts of one event loop, and the task that writes it while the list is not empty."""

    def __init__(self) -> None:
        self.noted = Noted()
        self.writing: asyncio.Task[None] | None = None
        self.runner = DatabaseRunner("rejections", work=Work.INGEST, threads=1, seconds=ANSWER_SECONDS, waiting_max=1)

    def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        self.noted.note(refusal, now=now, count=count)
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
    """Writes the refusals; drops them if the database fails, because they are not worth a retry."""
    try:
        keep(noted)
    except (DatabaseError, InterfaceError) as error:
        logger.debug("Refused posts were not kept: %s", str(error).strip())
    finally:
        if not connection.in_atomic_block:
            connection.close()


def keep(noted: Mapping[Refused, Times]) -> None:
    """Writes the refusals, and deletes rows beyond the limits. Raises DatabaseError."""
    with transaction.atomic(), connection.cursor() as cursor:
        owners = owners_of({refusal.key_hash for refusal in noted if refusal.key_hash})
        named = {refusal.device_id for refusal in noted} | {device_id for device_id, _ in owners.values()}
        registered = lock_registered(named)
        outside = outside_limits(noted)
        rows = []
        for refusal, times in noted.items():
            if (kept := row_of(refusal, owners.get(refusal.key_hash), registered, outside)) is not None:
                moment = connection.ops.adapt_datetimefield_value(times.last_at)
                rows.append((*kept, times.count, moment, moment))
        rows.sort(key=lambda row: row[:8])  # the same order in every process prevents deadlocks
        cursor.executemany(KEEP, rows)
        cursor.execute(TRIM, [KEPT_OF_A_DEVICE, *(KEPT_OF_A_SHARE[share] for share in SHARES)])


def outside_limits(refusals: Iterable[Refused]) -> set[tuple[frozenset[int] | None, str]]:
    """The devices that limited tokens named, and that are outside their limit, each with the limit."""
    named: dict[frozenset[int], set[str]] = {}
    for refusal in refusals:
        if refusal.limit is not None and refusal.device_id:
            named.setdefault(refusal.limit, set()).add(refusal.device_id)
    return {(limit, name) for limit, names in named.items() for name in names - visible_ids(names, limit)}


def row_of(
    refusal: Refused,
    owner: tuple[str, str] | None,
    registered: Collection[str],
    outside: Collection[tuple[frozenset[int] | None, str]],
) -> tuple[Any, ...] | None:
    """The columns of the row up to `detail`; None if the device has been erased, because nothing may be kept of it.

    `outside`: of `outside_limits`.
    """
    r = refusal
    # With a known owner the key hint is not needed.
    caller, device_id, hint, detail = (
        ("device", owner[0], "", owner[1]) if owner else (r.caller, r.device_id, r.key_hint, r.detail)
    )
    if device_id not in registered:
        if caller == "device":
            return None
        if not r.unknown_device:
            device_id = ""
    elif not owner and (r.limit, device_id) in outside:  # nothing for the page of somebody else's device
        device_id = ""
    return caller, device_id, hint, r.address, r.code, r.field, r.status, detail


def lock_registered(device_ids: Collection[str]) -> set[str]:
    """The registered devices among these ids, locked so that none can be erased until the transaction ends."""
    wanted = msgspec.json.encode(sorted(device_ids)).decode()
    with connection.cursor() as cursor:
        cursor.execute(REGISTERED if connection.vendor == "postgresql" else REGISTERED_SQLITE, [wanted])
        return {device_id for (device_id,) in cursor.fetchall()}


def owners_of(hashes: Collection[str]) -> dict[str, tuple[str, str]]:
    """For keys that are known but refused, by hash: the device id, and why the key is refused."""
    if not hashes:
        return {}
    found = {}
    for device in Device.objects.filter(retiring_key_hash__in=hashes):
        assert device.retiring_key_hash is not None
        found[device.retiring_key_hash] = (device.device_id, ROTATED)
    for device in Device.objects.filter(api_key_hash__in=hashes, is_active=False):
        found[device.api_key_hash] = (device.device_id, INACTIVE)
    return found


ROTATED = "This key of the device was rotated. Give the device its new key."
INACTIVE = "The key is correct, but the device is deactivated."

# The same lock as an insert that references the device; in the order of the ids, which prevents deadlocks.
REGISTERED = """
SELECT device_id FROM devices_device WHERE device_id = ANY(ARRAY(SELECT json_array_elements_text(%s::json)))
ORDER BY device_id FOR KEY SHARE
"""
REGISTERED_SQLITE = "SELECT device_id FROM devices_device WHERE device_id IN (SELECT value FROM json_each(%s))"
KEEP = """
INSERT INTO readings_rejection
    (caller, device_id, key_hint, address, code, field, status, detail, count, first_at, last_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (caller, device_id, key_hint, address, code, field, detail) DO UPDATE SET
    status = excluded.status, count = readings_rejection.count + excluded.count, last_at = excluded.last_at
"""
# Rows of a share are ranked in turns: first the latest row of each sender, then the second latest of each, and so on.
# So the sender with the most rows loses rows first.
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
                       CASE WHEN substr(code, 1, 8) = 'skipped_' THEN 'skipped'
                            WHEN caller IN ('fleet', 'token') AND device.id IS NULL THEN 'unknown'
                            WHEN caller = 'token' THEN 'fleet' ELSE caller END AS share,
                       CASE WHEN caller = 'device' THEN rejection.device_id ELSE address END AS sender
                FROM readings_rejection AS rejection
                LEFT JOIN devices_device AS device ON device.device_id = rejection.device_id
            ) AS shared
        ) AS counted
    ) AS ranked
    WHERE (share IN ('device', 'fleet', 'skipped') AND of_device > %s)
       OR place > CASE share WHEN 'device' THEN %s WHEN 'fleet' THEN %s WHEN 'unknown' THEN %s
                             WHEN 'admin' THEN %s WHEN 'nobody' THEN %s ELSE %s END
)
"""
SHARES = ("device", "fleet", "unknown", "admin", "nobody", "skipped")
