"""The speed of the storage alone: psycopg's COPY of prepared rows into the product's table with all its keys."""

import random
import threading
import time
from datetime import UTC, datetime
from uuid import uuid4

import psycopg

BATCH = 1000
STATEMENT = "COPY readings_reading (id, device_id, seq, timestamp, temperature, humidity, voltage, extra) FROM STDIN"


class Rows:
    """Batches whose `seq` continues that of the last one, as in the product; ids are random, in order of time."""

    def __init__(self, devices: list[str]) -> None:
        self.last_seq = dict.fromkeys(devices, 0)

    def batch(self, devices: list[str]) -> str:
        now = datetime.now(UTC).isoformat()
        prefix = f"{time.time_ns() // 1_000_000:012x}7"
        lines = []
        for device in devices:
            self.last_seq[device] += 1
            identifier = prefix + uuid4().hex[13:]
            lines.append(f'{identifier}\t{device}\t{self.last_seq[device]}\t{now}\t21.5\t40.2\t3.91\t{{"rssi": -67}}\n')
        return "".join(lines)


def readings_per_second(database: str, rows: Rows, *, gateway: bool, connections: int, batches: int) -> float:
    """The rate with one transaction a batch. With `gateway` a batch is of random devices, otherwise of one device."""
    names = list(rows.last_seq)
    work = [
        [
            rows.batch(random.choices(names, k=BATCH) if gateway else [random.choice(names)] * BATCH)
            for _ in range(batches)
        ]
        for _ in range(connections)
    ]

    def load(share: list[str]) -> None:
        with psycopg.connect(f"host=127.0.0.1 user=postgres dbname={database}") as connection:
            for text in share:
                with connection.cursor() as cursor, cursor.copy(STATEMENT) as copy:
                    copy.write(text)
                connection.commit()

    threads = [threading.Thread(target=load, args=(share,)) for share in work]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return connections * batches * BATCH / (time.perf_counter() - started)
