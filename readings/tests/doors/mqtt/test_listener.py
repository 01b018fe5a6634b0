"""The MQTT listener, in this process, with raw bytes and a write path that the test controls."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from django.db import OperationalError

from readings.doors.mqtt import clients as clients_module
from readings.doors.mqtt import instruments
from readings.doors.mqtt.backlog import MESSAGE_BYTES
from readings.doors.mqtt.clients import Clients
from readings.doors.mqtt.codec.decoding import PacketStream
from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.connection import Connection
from readings.doors.mqtt.deadlines import check
from readings.log.damage import LogDamaged
from readings.tests.doors.mqtt.ways import FakeWay, run, until

pytestmark = pytest.mark.once

HELLO = b"\x10\x17\0\4MQTT\4\xc2\0\x3c\0\1a\0\2m1\0\4" + b"key1"
HELLO_5 = b"\x10\x18\0\4MQTT\5\xc2\0\x3c\0\0\1a\0\2m1\0\4" + b"key1"
ADMITTED = b"\x20\2\0\0"


def sized(packet):
    """The packet with its length set right."""
    return packet[:1] + bytes([len(packet) - 2]) + packet[2:]


def publish(payload=b'{"co2":1}', topic=b"telemetry/m1/readings", packet_id=1, first=0x32, properties=b""):
    identifier = packet_id.to_bytes(2, "big") if first & 6 else b""
    return sized(bytes([first, 0]) + len(topic).to_bytes(2, "big") + topic + identifier + properties + payload)


@asynccontextmanager
async def listening():
    way = FakeWay()
    clients: Any = Clients(way, admit=lambda address, descriptor: address, release=lambda name: None)
    clients.said = []

    async def say(status, at):
        clients.said.append(status)

    async def look():
        pass

    clients.say, clients.look = say, look
    server = await asyncio.get_running_loop().create_server(lambda: Connection(clients), "127.0.0.1", 0)
    clients.writers = []
    clients.port = server.sockets[0].getsockname()[1]
    try:
        yield clients, way
    finally:
        for writer in clients.writers:
            writer.close()
        server.close()
        await clients.drain()


async def opened(clients, hello=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", clients.port)
    clients.writers.append(writer)
    writer.write(sized(hello or HELLO))
    return reader, writer


def test_puback_is_sent_after_the_commit_and_in_order():
    async def scenario():
        async with listening() as (clients, way):
            reader, writer = await opened(clients)
            assert await reader.readexactly(4) == ADMITTED
            way.allowed.clear()
            writer.write(publish(packet_id=1) + publish(packet_id=2) + b"\xc0\0")
            assert await reader.readexactly(2) == b"\xd0\0"  # the ping is answered, the messages are not
            way.allowed.set()
            assert await reader.readexactly(8) == b"\x40\2\0\1\x40\2\0\2"
            assert len(way.stored) == 2
            writer.close()

    run(scenario)


def test_what_is_refused_for_now_is_acknowledged_when_it_is_stored():
    async def scenario():
        async with listening() as (clients, way):
            reader, writer = await opened(clients)
            way.failures = [OperationalError("the connection is lost"), OperationalError("the connection is lost")]
            writer.write(publish())
            assert await reader.readexactly(8) == ADMITTED + b"\x40\2\0\1"
            assert len(way.stored) == 1
            writer.close()

    run(scenario)


def test_a_poison_message_is_acknowledged_with_its_reason_and_noted():
    async def scenario():
        async with listening() as (clients, way):
            reader, writer = await opened(clients, HELLO_5)
            await reader.readexactly(2 + (await reader.readexactly(2))[1] - 2)
            writer.write(publish(b"{", properties=b"\0"))
            acknowledged = await reader.readexactly(5)
            assert (acknowledged[0], acknowledged[4]) == (0x40, 0x99)
            assert [post.code for post in way.noted] == ["malformed"]
            writer.close()

    run(scenario)


def test_a_reading_in_a_damaged_segment_is_refused_without_those_beside_it():
    async def scenario():
        async with listening() as (clients, way):
            record = way.record

            async def damaged(readings, **when):
                if any(reading.extra["co2"] == 7 for reading in readings):
                    raise LogDamaged("m1", 1, 2, "its checksum is wrong")
                return await record(readings, **when)

            way.record = damaged
            reader, writer = await opened(clients, HELLO_5)
            await reader.readexactly((await reader.readexactly(2))[1])
            batch = b'[{"co2":1},{"co2":7},{"co2":3}]'
            for number, payload in enumerate((b'{"co2":7}', batch, b'{"co2":4}'), 1):
                writer.write(publish(payload, packet_id=number, properties=b"\0"))
            stream, answers = PacketStream(1000), list[bytes]()
            while len(answers) < 3:
                if (packet := stream.next()) is not None:
                    answers.append(packet[1])
                else:
                    stream.feed(await reader.read(1000))
            assert [answer[:2] for answer in answers] == [b"\0\1", b"\0\2", b"\0\3"]
            assert answers[0][2] == Reason.UNSPECIFIED_ERROR
            assert b"1 to 2 of m1 are damaged" in answers[0]
            assert [len(answer) for answer in answers[1:]] == [2, 2]
            assert [reading.extra["co2"] for reading in way.stored] == [1, 3, 4]
            assert [refusal.code for refusal in way.noted] == ["log_damaged"] * 2

    run(scenario)


def test_a_full_queue_slows_reading_and_drops_nothing():
    async def scenario():
        async with listening() as (clients, way):
            reader, writer = await opened(clients)
            way.allowed.clear()
            writer.write(b"".join(publish(packet_id=number) for number in range(1, 1001)))
            await until(lambda: any(c.paused for c in clients.open))
            assert next(iter(clients.open)).messages.unfinished == 100
            way.allowed.set()
            assert len(await reader.readexactly(4 + 4 * 1000)) == 4004
            assert len(way.stored) == 1000
            assert clients.backlog.used == 0
            writer.close()

    run(scenario)


def test_messages_with_qos_0_before_a_disconnect_are_stored():
    async def scenario():
        async with listening() as (clients, way):
            _, writer = await opened(clients)
            writer.write(publish(first=0x30) * 300 + b"\xe0\0")
            writer.close()
            await until(lambda: len(way.stored) == 300)

    run(scenario)


def test_a_will_is_published_when_the_connection_is_lost_and_not_after_disconnect():
    async def scenario():
        async with listening() as (clients, _):
            will = b"\x10\0\0\4MQTT\4\xc6\0\x3c\0\1a\0\x13telemetry/m1/status\0\7offline\0\2m1\0\4key1"
            reader, writer = await opened(clients, will)
            await reader.readexactly(4)
            writer.write(b"\xe0\0")
            assert await reader.read() == b""
            assert clients.said == []
            reader, writer = await opened(clients, will)
            await reader.readexactly(4)
            writer.transport.abort()
            await until(lambda: [status.online for status in clients.said] == [False])

    run(scenario)


def test_the_same_client_id_takes_over_and_its_will_does_not_make_it_offline():
    async def scenario():
        async with listening() as (clients, _):
            will = b"\x10\0\0\4MQTT\4\xc6\0\x3c\0\1a\0\x13telemetry/m1/status\0\7offline\0\2m1\0\4key1"
            reader, _writer = await opened(clients, will)
            await reader.readexactly(4)
            second, writer = await opened(clients, will)
            await second.readexactly(4)
            assert await reader.read() == b""
            writer.write(b"\xc0\0")
            assert await second.readexactly(2) == b"\xd0\0"
            assert clients.said == []
            writer.write(b"\xe0\0")
            await second.read()

    run(scenario)


@pytest.mark.parametrize(
    ("packets", "answer"),
    [
        (b"\xc0\0", b""),  # MQTT-3.1.0-1
        (sized(b"\x10\0\0\4MQTT\4\xc2\0\x3c\0\1a\0\2m1\0\3bad"), b"\x20\2\0\4"),
        (sized(b"\x10\0\0\4MQTT\4\xc2\0\x3c\0\1a\0\2m2\0\4key1"), b"\x20\2\0\4"),
        (sized(b"\x10\0\0\4MQTT\4\x82\0\x3c\0\1a\0\5admin"), b"\x20\2\0\5"),
        (sized(b"\x10\0\0\4MQTT\4\x82\0\x3c\0\1a\0\4read"), b"\x20\2\0\5"),  # a token without `ingest`
        (sized(b"\x10\0\0\4MQTT\4\x02\0\x3c\0\1a"), b"\x20\2\0\4"),
        (sized(b"\x10\0\0\4MQTT\4\xc0\0\x3c\0\0\0\2m1\0\4key1"), b"\x20\2\0\2"),  # MQTT-3.1.3-8
        (sized(b"\x10\0\0\6MQIsdp\3\2\0\x3c\0\1a"), b"\x20\2\0\1"),
        (sized(HELLO) * 2, ADMITTED),  # MQTT-3.1.0-2
        (sized(HELLO) + publish(first=0x34), ADMITTED),  # QoS 2
        (b"\x10\xff\xff\xff\x7f", b""),
        (sized(HELLO) + b"\x32\xff\xff\xff\x7f\0\1t", ADMITTED),  # a message of 256 MB, by its header alone
        (sized(HELLO) + publish(topic=b"telemetry/\xff"), ADMITTED),  # MQTT-1.5.3-1
        (sized(HELLO) + publish(topic=b"telemetry/+/readings"), ADMITTED),  # MQTT-3.3.2-2
        (sized(HELLO) + b"\x62\2\0\1", ADMITTED),  # MQTT-4.8.0-1
        (sized(b"\x10\0\0\4MQTT\4\xc2\0\x3c\0\1a\0\2m1\0\3bad") + b"\xc0\0", b"\x20\2\0\4"),  # MQTT-3.1.4-5
        (sized(HELLO) + b"\xe0\0" + b"\xc0\0", ADMITTED),  # MQTT-3.14.4-1
    ],
)
def test_what_is_against_the_protocol_or_the_key_ends_the_connection(packets, answer):
    async def scenario():
        async with listening() as (clients, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", clients.port)
            writer.write(packets)
            assert await reader.read() == answer
            writer.close()

    run(scenario)


def test_a_subscriber_hears_why_a_message_was_refused():
    async def scenario():
        async with listening() as (clients, _):
            reader, writer = await opened(clients)
            await reader.readexactly(4)
            writer.write(sized(b"\x82\0\0\1\0\x14telemetry/m1/refused\0\0\1#\0"))
            assert await reader.readexactly(6) == b"\x90\4\0\1\0\x80"
            writer.write(publish(b"{", first=0x30))
            assert b'"code":"malformed"' in await reader.readuntil(b"}")
            writer.close()

    run(scenario)


def test_subscriptions_are_answered_in_their_order_and_with_their_identifiers():
    """MQTT-3.8.4-1, 3.8.4-2, 3.9.3-1; 3.10.4-4 and 3.10.4-5: also for a filter that was not subscribed to."""

    async def scenario():
        async with listening() as (clients, _):
            reader, writer = await opened(clients)
            await reader.readexactly(4)
            other, own = b"\0\4a/b/\0", b"\0\x0etelemetry/m1/#\0"
            writer.write(sized(b"\x82\0\0\7" + other + own) + sized(b"\xa2\0\0\x08\0\1x") + b"\xc0\0")
            assert await reader.readexactly(12) == b"\x90\4\0\7\x80\0" + b"\xb0\2\0\x08" + b"\xd0\0"
            writer.close()

    run(scenario)


def test_a_client_without_an_id_of_mqtt_5_learns_its_id():
    """5: MQTT-3.1.3-7."""

    async def scenario():
        async with listening() as (clients, _):
            hello = b"\x10\0\0\4MQTT\5\xc2\0\x3c\0\0\0\0\2m1\0\4key1"
            reader, writer = await opened(clients, hello)
            answer = await reader.readexactly((await reader.readexactly(2))[1])
            assert answer[:2] == b"\0\0"
            assert b"\x12\0\x20" in answer
            writer.close()

    run(scenario)


def test_deadlines_end_silent_and_slow_clients():
    async def scenario():
        async with listening() as (clients, _):
            silent, writer = await asyncio.open_connection("127.0.0.1", clients.port)
            clients.writers.append(writer)
            kept, writer = await opened(clients)
            await kept.readexactly(4)
            await until(lambda: len(clients.open) == 2)
            for connection in list(clients.open):
                check(connection, connection.since + 9)
            assert len(clients.open) == 2
            for connection in list(clients.open):
                check(connection, connection.heard_at + 91)
            assert await silent.read() == await kept.read() == b""
            writer.close()

    run(scenario)


def test_an_idle_connection_keeps_only_what_it_needs():
    async def scenario():
        async with listening() as (clients, _):
            reader, _ = await opened(clients)
            await reader.readexactly(4)
            (connection,) = clients.open
            assert not hasattr(connection, "__dict__")
            assert connection.identity.caller.device is None  # a model instance takes 2 KB
            assert connection.admitting is connection.subscriptions is None

    run(scenario)


def waiting_bytes() -> float:
    # Not from the registry, which would ask the database for other metrics.
    (metric,) = instruments.WAITING_BYTES.collect()
    return metric.samples[0].value


def test_the_metric_of_waiting_bytes_is_read_from_the_backlog():
    async def scenario():
        async with listening() as (clients, way):
            reader, writer = await opened(clients)
            await reader.readexactly(4)
            before = waiting_bytes()
            way.allowed.clear()
            writer.write(publish())
            await until(lambda: clients.backlog.used)
            assert waiting_bytes() - before == clients.backlog.used == len(b'{"co2":1}') + MESSAGE_BYTES
            way.allowed.set()
            await reader.readexactly(4)

    run(scenario)


def test_the_listener_works_in_the_event_loop_of_uvloop():
    async def scenario():
        async with listening() as (clients, _):
            reader, writer = await opened(clients)
            writer.write(publish(packet_id=1))
            assert await reader.readexactly(8) == ADMITTED + b"\x40\2\0\1"

    uvloop.run(scenario())


def test_draining_acknowledges_what_was_received():
    async def scenario():
        async with listening() as (clients, way):
            reader, writer = await opened(clients)
            await reader.readexactly(4)
            way.allowed.clear()
            writer.write(publish())
            await until(lambda: bool(clients.tasks))
            draining = asyncio.create_task(clients.drain())
            await asyncio.sleep(0.02)
            way.allowed.set()
            assert await reader.read() == b"\x40\2\0\1"
            await draining
            writer.close()

    run(scenario)


def test_a_device_has_a_bounded_number_of_connections(monkeypatch):
    monkeypatch.setattr(clients_module, "CONNECTIONS_PER_DEVICE", 0)

    async def scenario():
        async with listening() as (clients, _):
            reader, _ = await opened(clients, HELLO_5)
            assert (await reader.read())[3] == 0x97

    run(scenario)
