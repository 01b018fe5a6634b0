"""A caller that uses as much as it can, in its own process so that it does not slow down the measuring test.

python -m telemetry.tests.support.clients.greedy asks|refused|valid PORT DEVICE_ID KEY LOOPS SECONDS

It prints one line of JSON: the number of requests by status; "closed": it closed the connection itself.
"""

import gzip
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

# Just below the default of MAX_BODY_BYTES.
INFLATED_BYTES = 4 * 1024 * 1024 - 1024
BATCH_READINGS_MAX = 10_000
# Seconds: the longest window with buckets of one second (at most 10,000 buckets).
WINDOW_SECONDS = 9_999
CLOSED_AFTER_SECONDS = 0.5
ANSWER_SECONDS_MAX = 120
BUFFER_BYTES = 1024 * 1024


class Asking(NamedTuple):
    """A request. `closed_after` is when the caller disconnects, in seconds; None: it reads the whole answer."""

    request: bytes
    closed_after: float | None = None


def filled(item: bytes) -> bytes:
    """A compressed array of as many of these items as a body may hold."""
    return gzip.compress(b"[" + item + (b"," + item) * ((INFLATED_BYTES - 2) // (len(item) + 1) - 1) + b"]")


def refused_bodies() -> dict[str, tuple[str, bytes, bool]]:
    """Bodies that are costly to refuse, by name: path, body, and whether it is compressed."""
    batch, single = "/api/v1/ingest/batch", "/api/v1/ingest"
    names = ",".join(f'"n{number}":1' for number in range(INFLATED_BYTES // 12))
    wide = ",".join("{" + ",".join(f'"n{number}":1' for number in range(100)) + "}" for _ in range(4000))
    wrong = json.dumps([{"temperature": "warm", "humidity": "\u00e9" * 50}] * BATCH_READINGS_MAX)
    many = json.dumps([{"temperature": 1}] * (BATCH_READINGS_MAX + 1))
    return {
        "empty arrays": (batch, filled(b"[]"), True),
        "empty objects": (batch, filled(b"{}"), True),
        "empty arrays for one reading": (single, filled(b"[]"), True),
        "numbers": (batch, filled(b"1e9"), True),
        "short texts": (batch, filled(b'"a"'), True),
        "one object of many names": (single, gzip.compress(b"{" + names.encode() + b"}"), True),
        "many wide objects": (batch, gzip.compress(f"[{wide}]".encode()), True),
        "deep nesting": (batch, b"[" * 200_000 + b"]" * 200_000, False),
        "deep objects": (batch, b'{"a":' * 200_000 + b"1" + b"}" * 200_000, False),
        "one long number": (single, gzip.compress(b'{"temperature":' + b"1" * (INFLATED_BYTES - 100) + b"}"), True),
        "one long text": (single, gzip.compress(b'{"temperature":"' + b"1" * (INFLATED_BYTES - 100) + b'"}'), True),
        "a reading too many": (batch, gzip.compress(many.encode()), True),
        "every reading wrong": (batch, gzip.compress(wrong.encode()), True),
        "far over the limit": (batch, gzip.compress(b"[" + b" " * (256 << 20)), True),
    }


def post(path: str, key: str, body: bytes, *, compressed: bool) -> Asking:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nConnection: close\r\n"
    head += "Content-Encoding: gzip\r\n" if compressed else ""
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Asking(head.encode() + body)


def asks(device_id: str, key: str) -> list[Asking]:
    """The most expensive queries about a device, each also abandoned early and with a compressed answer."""
    aggregate = f"aggregate?start=-{WINDOW_SECONDS}s&bucket=1s"
    paths = [
        aggregate,
        f"{aggregate}&fill=null",
        f"aggregate?start=-{WINDOW_SECONDS}s&bucket=auto&points=10000",
        "history?format=csv&order=asc",
    ]
    paths += ["history?format=csv", "history?limit=10000", "history?limit=10000&order=asc"]
    requests = []
    for path in paths:
        for encoding in ("identity", "gzip"):
            head = f"GET /api/v1/devices/{device_id}/{path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n"
            request = f"{head}Accept-Encoding: {encoding}\r\nConnection: close\r\n\r\n".encode()
            requests += [Asking(request, CLOSED_AFTER_SECONDS), Asking(request)]
    return requests


def refused(_: str, key: str) -> list[Asking]:
    return [post(path, key, body, compressed=compressed) for path, body, compressed in refused_bodies().values()]


def valid(device_id: str, key: str) -> list[Asking]:
    """A batch of the largest accepted size."""
    readings = [
        {"device_id": device_id, "temperature": 21.5, "humidity": number % 100, "age_seconds": number}
        for number in range(BATCH_READINGS_MAX)
    ]
    return [post("/api/v1/ingest/batch", key, json.dumps(readings).encode(), compressed=False)]


def status_of(port: int, asking: Asking, buffer: bytearray) -> str:
    """Sends a request; returns the status, "closed" if the caller disconnected, "none" if there was no answer."""
    started = time.monotonic()
    status = ""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX) as client:
            try:
                client.sendall(asking.request)
            except OSError:  # the server refused the incomplete body; its answer may have arrived
                client.settimeout(1)
            while True:
                if asking.closed_after is not None:
                    left = started + asking.closed_after - time.monotonic()
                    if left <= 0:
                        return status if status[:1] in "45" and status else "closed"
                    client.settimeout(left)
                size = client.recv_into(buffer)
                if not size:
                    return status or "none"
                status = status or buffer[9:12].decode("ascii", "replace")
    except TimeoutError:
        return "closed" if asking.closed_after is not None else "none"
    except OSError:
        return status or "none"


def run(port: int, requests: list[Asking], *, loops: int, seconds: float) -> Counter[str]:
    """Sends requests as fast as possible in `loops` parallel loops, each with one request at a time."""
    found: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def loop(first: int) -> None:
        buffer = bytearray(BUFFER_BYTES)
        for number in chosen(first):
            if time.monotonic() >= end:
                return
            status = status_of(port, requests[number % len(requests)], buffer)
            found[status] += 1

    threads = [threading.Thread(target=loop, args=(number,), daemon=True) for number in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end + ANSWER_SECONDS_MAX - time.monotonic()))
    return found


def chosen(first: int) -> Iterator[int]:
    """Indices of requests, which start elsewhere for each loop, so that not all loops send the same at once."""
    return count(first * 3)


def main() -> None:
    kind, port, device_id, key, loops, seconds = sys.argv[1:]
    requests = {"asks": asks, "refused": refused, "valid": valid}[kind](device_id, key)
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    print(json.dumps(run(int(port), requests, loops=int(loops), seconds=float(seconds))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
