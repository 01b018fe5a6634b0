"""Compares the acknowledged readings of virtual devices with the stored ones, over HTTP, with each device's key."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from devices.plurals import counted
from devices.times import rfc3339
from readings.simulator.fleet import SimulationError, VirtualDevice

PAGE_READINGS = 10_000
# Tolerance for the stored time. The server computes it as time of receipt minus age, so a slow request makes it later.
MISDATED_SECONDS = 5.0


@dataclass
class Verdict:
    """Numbers of readings. `holes`: the number of devices with holes in the numbers of their log."""

    acknowledged: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    misdated: int = 0
    holes: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.misdated or self.holes)

    def __str__(self) -> str:
        return (
            f"{self.acknowledged:,} acknowledged, {self.stored:,} of them stored: {self.lost:,} lost, "
            f"{self.doubled:,} doubled, {self.misdated:,} misdated, {counted(self.holes, 'log', 'logs')} with holes"
        )


def compare(devices: Sequence[VirtualDevice], *, base_url: str) -> Verdict:
    """Reads the logs over HTTP and compares them. Raises SimulationError if the server does not answer."""
    verdict = Verdict()
    # Clock of the server minus clock of this machine, plus the delay of the request, in seconds.
    apart: list[float] = []
    with httpx.Client(base_url=base_url, timeout=30, trust_env=False) as client:
        for device in devices:
            if not device.acknowledged:
                continue
            found: Counter[str] = Counter()
            seqs: list[int] = []
            for reading in log_of(client, device, since=min(device.acknowledged.values())):
                seqs.append(reading["seq"])
                if (measured := device.acknowledged.get(str(reading["id"]))) is None:
                    continue
                found[str(reading["id"])] += 1
                apart.append(datetime.fromisoformat(str(reading["timestamp"])).timestamp() - measured)
            verdict.acknowledged += len(device.acknowledged)
            verdict.stored += len(found)
            verdict.doubled += sum(count - 1 for count in found.values())
            verdict.holes += len(set(seqs)) != len(seqs) or max(seqs, default=0) - min(seqs, default=1) + 1 != len(seqs)
    verdict.lost = verdict.acknowledged - verdict.stored
    if apart:
        # The smallest value is the difference of the clocks, because its request had nearly no delay.
        verdict.misdated = sum(seconds - min(apart) > MISDATED_SECONDS for seconds in apart)
    return verdict


def log_of(client: httpx.Client, device: VirtualDevice, *, since: float) -> Iterator[dict[str, Any]]:
    """The device's log, page by page, from an hour before `since` (Unix seconds), because clocks may differ."""
    start = datetime.fromtimestamp(since, UTC) - timedelta(hours=1)
    url: str | None = f"/api/v1/devices/{device.device_id}/history"
    parameters: dict[str, str] | None = {
        "order": "asc",
        "limit": str(PAGE_READINGS),
        "start": rfc3339(start),
    }
    while url:
        try:
            response = client.get(url, params=parameters, headers={"X-API-Key": device.key})
        except httpx.TransportError as error:
            raise SimulationError(f"{device.device_id}: cannot read the stored readings: {error!r}") from error
        if not response.is_success:
            raise SimulationError(f"{device.device_id}: {response.status_code} {response.text}")
        page = response.json()
        yield from page["results"]
        url, parameters = page["next"], None
