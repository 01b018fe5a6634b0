"""Publishes with QoS 1 over many connections, each of which waits for its acknowledgement, as an HTTP client would.

A process of its own: python -m benchmarks.measuring.mqtt_load PORT KEYS CONNECTIONS SECONDS, with the payload on
standard input. Prints acknowledged messages and seconds.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import uvloop  # so that generating the load takes less of the cores, as wrk does for HTTP

from readings.doors.mqtt.codec.encoding import framed
from readings.doors.mqtt.codec.fields import TWO_BYTES, encoded_text
from readings.doors.mqtt.codec.packets import MQTT_3_1_1


class Publisher(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, device_id: str, key: str, payload: bytes, deadline: list[float]) -> None:
        self.device_id, self.key, self.payload, self.deadline = device_id, key, payload, deadline
        self.buffer = b""
        self.acknowledged = self.number = 0
        self.ready = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        head = encoded_text("MQTT") + bytes((MQTT_3_1_1, 0xC2)) + TWO_BYTES.pack(60)
        texts = (self.device_id, self.device_id, self.key)
        self.transport.write(framed(0x10, head + b"".join(map(encoded_text, texts))))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 4:  # CONNACK and PUBACK have four bytes
            packet, self.buffer = self.buffer[:4], self.buffer[4:]
            if packet[0] == 0x20:
                assert packet[3] == 0, f"The connection was refused: {packet[3]}"
                self.ready.set_result(None)
                continue
            self.acknowledged += 1
            if time.monotonic() < self.deadline[0]:
                self.publish()
            elif not self.done.done():
                self.done.set_result(None)

    def publish(self) -> None:
        self.number = self.number % 65_535 + 1
        topic = encoded_text(f"telemetry/{self.device_id}/readings")
        self.transport.write(framed(0x32, topic + TWO_BYTES.pack(self.number) + self.payload))


async def publish(port: int, keys: list[list[str]], payload: bytes, seconds: float) -> tuple[int, float]:
    """Acknowledged messages, and the seconds from the first message to the last acknowledgement."""
    loop = asyncio.get_running_loop()
    deadline = [0.0]
    publishers = [Publisher(device_id, key, payload, deadline) for device_id, key in keys]
    for publisher in publishers:
        await loop.create_connection(lambda publisher=publisher: publisher, "127.0.0.1", port)  # type: ignore[misc]
        await publisher.ready
    started = time.monotonic()
    deadline[0] = started + seconds
    for publisher in publishers:
        publisher.publish()
    await asyncio.gather(*(publisher.done for publisher in publishers))
    took = time.monotonic() - started
    for publisher in publishers:
        publisher.transport.close()
    return sum(publisher.acknowledged for publisher in publishers), took


def run(port: int, keys: Path, payload: bytes, *, connections: int, seconds: int) -> tuple[int, float]:
    """Runs this module in a process of its own; returns acknowledged messages and the time that they took."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.measuring.mqtt_load",
        str(port),
        str(keys),
        str(connections),
        str(seconds),
    ]
    count, took = subprocess.run(command, input=payload, capture_output=True, check=True).stdout.split()
    return int(count), float(took)


def main() -> None:
    port, keys, connections, seconds = sys.argv[1:]
    pairs = [line.split() for line in Path(keys).read_text().splitlines()[: int(connections)]]
    found = uvloop.run(publish(int(port), pairs, sys.stdin.buffer.read(), float(seconds)))
    print(*found)  # noqa: T201


if __name__ == "__main__":
    main()
