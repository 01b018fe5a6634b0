"""Which devices a token may write for."""

from collections.abc import Sequence
from datetime import datetime

from devices.access.callers import Caller
from devices.querysets import visible_ids
from readings.ingest.way import Recording
from readings.log.entries import NewReading, Refusal
from readings.log.group_commit import OutsideLimit
from readings.log.recording import UNKNOWN_DEVICE, Recorded

# Does not say whether the device exists.
OUTSIDE_LIMIT = Refusal(
    "device_id", UNKNOWN_DEVICE.code, "There is no device with this id among those that this token may write for."
)


async def record_for(
    caller: Caller, way: Recording, readings: Sequence[NewReading], *, received_at: datetime
) -> list[Recorded]:
    """Stores the readings; returns the outcome of each, in order. Raises DatabaseError.

    A token that is limited to tags writes for the devices that have one of them; the others are unknown to it.
    """
    if not readings:
        return []
    if caller.token is None or caller.token.limit is None:
        return await way.record(readings, received_at=received_at, caller=caller)
    while True:
        visible = await way.ask(visible_ids, {reading.device_id for reading in readings}, caller.token.limit)
        allowed = [reading for reading in readings if reading.device_id in visible]
        try:
            recorded = iter(await way.record(allowed, received_at=received_at, caller=caller) if allowed else [])
        except OutsideLimit:  # nothing was stored
            continue
        outside = Recorded(refusal=OUTSIDE_LIMIT)
        return [next(recorded) if reading.device_id in visible else outside for reading in readings]
