"""The ids that clients gave to sealed readings, by which a repeated post is recognised, for IDS_KEPT after its receipt.

An id that the server derived is not noted, because no client sends it again.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec
from django.db import connection

from readings.log.entries import StoredReading
from readings.log.id_key import id_key
from readings.log.ids import ServerIds
from readings.models import SealedId

# Longer than the 31 days for which a device may buffer a reading (`age_seconds`).
IDS_KEPT = timedelta(days=35)
# Deleted in one transaction, because on SQLite no device can post meanwhile.
CHUNK_ROWS = 5_000

# If a forgotten id was sent again, the later reading has it.
NOTE = """
INSERT INTO readings_sealedid (device_id, id, seq)
SELECT %s, entry.id, entry.seq FROM unnest(%s::uuid[], %s::bigint[]) AS entry (id, seq)
ON CONFLICT (device_id, id) DO UPDATE SET seq = greatest(readings_sealedid.seq, excluded.seq)
"""
NOTE_SQLITE = """
INSERT INTO readings_sealedid (device_id, id, seq)
SELECT %s, json_extract(entry.value, '$[0]'), json_extract(entry.value, '$[1]') FROM json_each(%s) AS entry WHERE true
ON CONFLICT (device_id, id) DO UPDATE SET seq = max(seq, excluded.seq)
"""


def note(readings: Sequence[StoredReading]) -> None:
    """Notes the ids of readings of a device, within the transaction that seals them."""
    derived = ServerIds(id_key()).id
    given = [one for one in readings if one.id != derived(one.device_id, one.seq, one.timestamp)]
    if not given:
        return
    device_id = given[0].device_id
    newest = {reading.id: reading.seq for reading in given}  # PostgreSQL updates a row only once in a statement
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(NOTE, [device_id, list(newest), list(newest.values())])
        else:
            rows = [(identifier.hex, seq) for identifier, seq in newest.items()]
            cursor.execute(NOTE_SQLITE, [device_id, msgspec.json.encode(rows).decode()])


def withdraw(readings: Sequence[StoredReading]) -> None:
    """Deletes the notes of readings of a device that are sealed no longer, within the caller's transaction.

    The note of a later reading with the same id stays.
    """
    if readings:
        noted = SealedId.objects.filter(device_id=readings[0].device_id, seq__in=[reading.seq for reading in readings])
        noted.filter(id__in=[reading.id for reading in readings]).delete()


def forget(device_id: str, *, until: int) -> Iterator[int]:
    """Deletes the ids of the readings of the device up to this `seq`; yields how many, after each transaction."""
    ids = SealedId.objects.filter(device_id=device_id, seq__lte=until).order_by("id")
    while chunk := list(ids.values_list("id", flat=True)[:CHUNK_ROWS]):
        # By the range, because SQLite limits the number of parameters.
        yield ids.filter(id__gte=chunk[0], id__lte=chunk[-1]).order_by().delete()[0]
        ids = ids.filter(id__gt=chunk[-1])
