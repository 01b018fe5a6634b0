"""The metric names of each device, and their maximum number, because every name costs rollups forever.

The names are stored in the device's state and cached in this process. `names_seq`, which is read with the lock on the
state, tells whether the cached names are current. So the limit is exact, and usually needs no extra query.
"""

from collections.abc import Collection, Iterable
from threading import Lock
from uuid import UUID

import msgspec
from django.conf import settings

from devices.database.log_locks import LogEnd
from devices.metrics import COLUMNS
from devices.models import DeviceState
from devices.plurals import counted
from readings.log.entries import Refusal

# Maximum number of cached names of all devices together. Equal sets of names are stored only once.
REMEMBERED_MAX = 500_000


class Names(msgspec.Struct, frozen=True, gc=False):
    """The metrics of a device, including those with a column, since the entry `names_seq` of its log."""

    device_pk: UUID
    names_seq: int
    names: frozenset[str]


class Memory:
    """The cached names of this process. When it is full, the oldest entries are removed first."""

    def __init__(self) -> None:
        self.lock = Lock()
        # Keyed by the UUID as an integer, because a look-up by UUID takes three times as long.
        self.devices: dict[int, Names] = {}
        self.sets: dict[frozenset[str], frozenset[str]] = {}
        self.count = 0

    def put(self, names: Names) -> None:
        with self.lock:
            if (before := self.devices.pop(names.device_pk.int, None)) is not None:
                self.count -= len(before.names)
            shared = self.sets.setdefault(names.names, names.names)
            self.devices[names.device_pk.int] = Names(names.device_pk, names.names_seq, shared)
            self.count += len(shared)
            while self.count > REMEMBERED_MAX:
                self.count -= len(self.devices.pop(next(iter(self.devices))).names)
                if len(self.sets) > len(self.devices) + 1:
                    self.sets = {known.names: known.names for known in self.devices.values()}


NONE: frozenset[str] = frozenset()
memory = Memory()


def of(ends: Collection[LogEnd]) -> dict[str, frozenset[str]]:
    """The metrics of devices whose states are locked, by device id; one query for all that are not cached."""
    names: dict[str, frozenset[str]] = {}
    missing: dict[str, LogEnd] = {}
    remembered = memory.devices
    for end in ends:
        found = remembered.get(end.device_pk.int)
        if found is not None and found.names_seq == end.names_seq:
            names[end.device_id] = found.names
        elif end.names_seq:
            missing[end.device_id] = end
        else:
            names[end.device_id] = NONE
    if missing:
        for device_id, read in DeviceState.objects.metric_names(missing).items():
            names[device_id] = read
            memory.put(Names(missing[device_id].device_pk, missing[device_id].names_seq, read))
    return names


def remember(changed: Iterable[Names]) -> None:
    """Caches changed names. Call it only after the commit of the transaction that changed them."""
    for names in changed:
        memory.put(names)


def too_many(names: Collection[str]) -> bool:
    """Whether these metrics without the columns are more than METRIC_NAMES_PER_DEVICE allows."""
    limit = int(settings.METRIC_NAMES_PER_DEVICE)
    return len(names) > limit and len(names) - sum(name in names for name in COLUMNS) > limit


def refusal() -> Refusal:
    limit = int(settings.METRIC_NAMES_PER_DEVICE)
    detail = (
        f"The device would have more than {counted(limit, 'metric', 'metrics')} in addition to "
        f"{', '.join(COLUMNS)}. The setting METRIC_NAMES_PER_DEVICE does not allow more."
    )
    return Refusal("", "too_many_metric_names", detail)
