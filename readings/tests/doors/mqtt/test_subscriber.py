"""The MQTT subscriber, in this process, with a broker and a write path that the test controls."""

import asyncio
import logging
import threading
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from django.db import OperationalError

from readings.doors.mqtt.codec.decoding import PacketStream, decode
from readings.doors.mqtt.codec.encoding import framed
from readings.doors.mqtt.codec.fields import encoded_text
from readings.doors.mqtt.codec.packets import Connect, Disconnect, Subscribe
from readings.doors.mqtt.subscriber import subscriber as module
from readings.doors.mqtt.subscriber.addresses import BrokerAddress, InvalidAddress, broker_address
from readings.doors.mqtt.subscriber.packets import Delivery, DeliveryStream
from readings.doors.mqtt.subscriber.patterns import InvalidPattern, meaning_in, pattern_of, patterns_of
from readings.doors.mqtt.subscriber.session import Session
from readings.doors.mqtt.subscriber.subscriber import Subscriber
from readings.doors.mqtt.subscriber.turns import Turn
from readings.doors.mqtt.topics import Meaning, Topic
from readings.tests.doors.mqtt.ways import FakeWay, run, until

pytestmark = pytest.mark.once

PATTERNS = ["telemetry/#", "sensors/{device}/{metric}", "zigbee2mqtt/{device}", "zigbee2mqtt/{device}/availability"]


def message(packet_id=1, payload=b'{"co2":1}', topic="telemetry/m1/readings", qos=1, dup=False, retain=False):
    flags = 0x30 | qos << 1 | dup << 3 | retain
    return framed(flags, encoded_text(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + payload)


class Broker:
    """Answers CONNECT and SUBSCRIBE; `received` are the packets of all connections, in order."""

    def __init__(self):
        self.received: list[Any] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.code, self.kept, self.granted = 0, 0, 1

    async def serve(self, reader, writer):
        self.writers.append(writer)
        stream = PacketStream(10_000)
        with suppress(ConnectionError):
            while chunk := await reader.read(10_000):
                stream.feed(chunk)
                while (raw := stream.next()) is not None:
                    packet = raw if raw[0] == 0x40 else decode(*raw, 4)
                    self.received.append(packet)
                    if isinstance(packet, Connect):
                        writer.write(bytes((0x20, 2, self.kept, self.code)))
                    if isinstance(packet, Subscribe):
                        writer.write(framed(0x90, b"\0\1" + bytes([self.granted] * len(packet.filters))))

    def send(self, *packets):
        self.writers[-1].write(b"".join(packets))

    def acknowledged(self):
        return [int.from_bytes(p[1], "big") for p in self.received if isinstance(p, tuple)]

    def count(self, kind):
        return sum(isinstance(packet, kind) for packet in self.received)


@asynccontextmanager
async def subscribed(monkeypatch, *, wait=True, **attributes):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    broker, way = Broker(), FakeWay()
    for name, value in attributes.items():
        setattr(broker, name, value)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    said: list[Any] = []

    async def say(status, at):
        said.append(status)

    address = BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1], False, "me", "secret", "here")
    subscriber = Subscriber(way, say, address=address, patterns=patterns_of(PATTERNS), alone=True)
    broker.subscriber, broker.said = subscriber, said  # type: ignore[attr-defined]
    subscriber.start()
    try:
        if wait:
            await until(lambda: subscriber.session is not None and subscriber.session.subscribed)
        yield broker, way
    finally:
        await subscriber.stop()
        server.close()
        for writer in broker.writers:
            writer.close()


def test_it_asks_for_a_session_that_the_broker_keeps(monkeypatch):
    async def scenario():
        async with subscribed(monkeypatch) as (broker, _):
            hello, subscribe = broker.received
            assert (hello.client_id, hello.clean, hello.user_name, hello.password) == ("here", False, "me", b"secret")
            filters = ["telemetry/#", "sensors/+/+", "zigbee2mqtt/+", "zigbee2mqtt/+/availability"]
            assert subscribe.filters == [(text, 1) for text in filters]
        await until(lambda: isinstance(broker.received[-1], Disconnect))

    run(scenario)


def test_a_message_is_acknowledged_after_its_commit(monkeypatch):
    async def scenario():
        async with subscribed(monkeypatch) as (broker, way):
            way.allowed.clear()
            broker.send(
                message(7), message(8, b"21.5", "sensors/m2/Temp"), message(9, b"online", "zigbee2mqtt/m3/availability")
            )
            await until(lambda: len(broker.subscriber.pending) == 3)
            assert broker.acknowledged() == []
            way.allowed.set()
            await until(lambda: broker.acknowledged() == [7, 8, 9])
            assert [(r.device_id, r.extra) for r in way.stored] == [("m1", {"co2": 1.0}), ("m2", {"temp": 21.5})]
            assert broker.said[0].device_id == "m3"
            assert not broker.subscriber.pending

    run(scenario)


def test_a_database_that_is_away_delays_the_acknowledgement_and_a_refused_message_does_not_come_back(monkeypatch):
    async def scenario():
        async with subscribed(monkeypatch) as (broker, way):
            way.failures = [OperationalError("connection is lost")]
            broker.send(message(1), message(2, b"no json"))
            await until(lambda: broker.acknowledged() == [1, 2])
            assert len(way.stored) == 1
            assert [refusal.code for refusal in way.noted] == ["malformed"]

    run(scenario)


def test_messages_that_come_again_after_a_lost_connection_are_stored_once(monkeypatch):
    """One is stored before the connection is there again, one after that."""

    async def scenario():
        async with subscribed(monkeypatch, kept=1) as (broker, way):
            way.allowed.clear()
            broker.send(message(5), message(6, b'{"co2":2}'))
            await until(lambda: len(broker.subscriber.pending) == 2)
            broker.writers[-1].close()
            await until(lambda: broker.count(Subscribe) == 2)
            broker.send(message(5, dup=True))
            await asyncio.sleep(0.02)
            way.allowed.set()
            await until(lambda: broker.acknowledged() == [5])
            broker.send(message(6, b'{"co2":2}', dup=True), message(7, b'{"co2":3}'))
            await until(lambda: broker.acknowledged() == [5, 6, 7])
            assert [r.extra["co2"] for r in way.stored] == [1, 2, 3]

    run(scenario)


@pytest.mark.parametrize(("kept", "again"), [(0, b'{"co2":1}'), (1, b'{"co2":2}')])
def test_a_packet_identifier_of_another_message_is_not_mistaken(monkeypatch, kept, again):
    """Of a new session; and of a broker such as RabbitMQ, which gives new identifiers after a new connection."""

    async def scenario():
        async with subscribed(monkeypatch, kept=kept) as (broker, way):
            way.allowed.clear()
            broker.send(message(5))
            await until(lambda: broker.subscriber.pending)
            broker.writers[-1].close()
            await until(lambda: broker.count(Subscribe) == 2)
            way.allowed.set()
            broker.send(message(5, again, dup=True))
            await until(lambda: broker.acknowledged() == [5])
            assert len(way.stored) == 2

    run(scenario)


def test_retained_readings_are_old_and_not_stored_and_a_retained_status_counts(monkeypatch):
    async def scenario():
        async with subscribed(monkeypatch) as (broker, way):
            broker.send(message(1, retain=True), message(2, b"offline", "telemetry/m1/status", retain=True))
            await until(lambda: broker.acknowledged() == [1, 2])
            assert not way.stored
            assert not broker.said[0].online

    run(scenario)


def test_a_message_that_is_too_large_or_has_no_valid_topic_is_acknowledged(monkeypatch):
    async def scenario():
        async with subscribed(monkeypatch) as (broker, way):
            wrong = framed(0x32, b"\0\2\xff\xfe\0\2" + b"1")
            broker.send(message(1, b" " * 300_000), wrong, message(3))
            await until(lambda: broker.acknowledged() == [1, 2, 3])
            assert [refusal.code for refusal in way.noted] == ["too_large"]
            assert len(way.stored) == 1

    run(scenario)


def test_a_large_message_takes_no_memory():
    stream = DeliveryStream(1000)
    packet = message(3, b"x" * 500_000) + message(4)
    found = []
    for start in range(0, len(packet), 10_000):
        stream.feed(packet[start : start + 10_000])
        assert len(stream.buffer) < 90_000
        while (delivery := stream.next()) is not None:
            assert isinstance(delivery, Delivery)
            found.append((delivery.packet_id, delivery.payload))
    assert found == [(3, None), (4, b'{"co2":1}')]


def test_too_many_waiting_messages_stop_reading_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(module, "MESSAGES_MAX", 10)

    async def scenario():
        async with subscribed(monkeypatch) as (broker, way):
            way.allowed.clear()
            broker.send(*(message(i, qos=0) for i in range(1, 101)))
            await until(lambda: broker.subscriber.session.paused)
            assert broker.subscriber.unfinished == 10
            way.allowed.set()
            await until(lambda: len(way.stored) == 100)

    run(scenario)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"code": 5}, "does not accept the connection: this user may not connect"),
        ({"granted": 0x80}, "refuses all subscriptions"),
    ],
)
def test_a_refusal_of_the_broker_is_named_once_and_tried_again_more_slowly(monkeypatch, caplog, attributes, words):
    monkeypatch.setattr(module, "PAUSE_SECONDS_MAX", 0.04)

    async def scenario():
        async with subscribed(monkeypatch, wait=False, **attributes) as (broker, _):
            await until(lambda: broker.count(Connect) >= 3)

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert sum(words in record.message for record in caplog.records) == 1
    assert "secret" not in caplog.text


def test_an_error_of_any_kind_is_logged_and_it_connects_again(monkeypatch, caplog):
    monkeypatch.setattr(module, "PAUSE_SECONDS_MAX", 0.04)
    errors = [ValueError("no such thing"), UnicodeError("a label is too long")]

    def failing(*arguments, **more):
        if errors:
            raise errors.pop()
        return Session(*arguments, **more)

    monkeypatch.setattr(module, "Session", failing)

    async def scenario():
        async with subscribed(monkeypatch) as (broker, _):
            assert broker.count(Connect) == 1

    run(scenario)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "a label is too long",
        "no such thing",
    ]


def test_with_its_turn_it_loses_the_messages_that_wait_and_acknowledges_what_it_stores(monkeypatch):
    """The broker sends the former again, to the next that subscribes; without a PUBACK also what is being stored."""

    async def scenario():
        async with subscribed(monkeypatch) as (broker, way):
            subscriber = broker.subscriber
            way.allowed.clear()
            broker.send(message(1))
            await until(lambda: subscriber.storing_task is not None and not subscriber.waiting)
            broker.send(message(2), message(3, topic="telemetry/m2/readings", qos=0))
            await until(lambda: len(subscriber.waiting) == 2)
            session = subscriber.session
            subscriber.turn_changed(False)
            subscriber.turn_changed(True)  # another connection to the database has the lock
            subscriber.delivered(session, Delivery("telemetry/m4/readings", b"1", 1, 4, False, False))
            assert not session.is_closed()
            way.allowed.set()
            await until(lambda: broker.count(Connect) == 2)
            assert broker.acknowledged() == [1]
            assert broker.count(Disconnect) == 1
            await until(lambda: subscriber.storing_task is None)
            assert [reading.device_id for reading in way.stored] == ["m1", "m2"]
            assert (subscriber.unfinished, subscriber.bytes) == (0, 0)

    run(scenario)


def test_stopping_acknowledges_what_was_received_and_signs_off(monkeypatch):
    async def scenario():
        async with subscribed(monkeypatch) as (broker, way):
            way.allowed.clear()
            broker.send(message(1))
            await until(lambda: broker.subscriber.pending)
            stopping = asyncio.create_task(broker.subscriber.stop())
            await asyncio.sleep(0)
            way.allowed.set()
            await stopping
            await until(lambda: isinstance(broker.received[-1], Disconnect))
            assert broker.acknowledged() == [1]

    run(scenario)


def test_a_lost_turn_ends_the_connection(monkeypatch):
    async def scenario():
        async with subscribed(monkeypatch) as (broker, _):
            broker.subscriber.turn_changed(False)
            await until(lambda: broker.count(Disconnect) == 1)
            await asyncio.sleep(0.05)
            assert broker.count(Connect) == 1
            broker.subscriber.turn_changed(True)
            await until(lambda: broker.count(Connect) == 2)

    run(scenario)


@pytest.mark.django_db(transaction=True)
def test_one_process_at_a_time_has_the_turn(monkeypatch):
    monkeypatch.setattr("readings.doors.mqtt.subscriber.turns.POLL_SECONDS", 0.02)
    told: list[tuple[int, bool]] = []
    both = threading.Event()

    def changed(number):
        def tell(mine):
            told.append((number, mine))
            if told == [(0, True), (0, False), (1, True)]:
                both.set()

        return tell

    turns = [Turn(changed(number)) for number in (0, 1)]
    turns[0].start()
    while not told:
        turns[0].join(0.01)
    turns[1].start()
    turns[1].join(0.1)
    assert told == [(0, True)]
    turns[0].end()
    assert both.wait(5)
    turns[1].end()
    for turn in turns:
        turn.join(5)


@pytest.mark.parametrize(
    ("topic", "meaning"),
    [
        ("telemetry/m1/readings", Topic(Meaning.READINGS, "m1")),
        ("telemetry/m1/what/is/this", Topic(Meaning.NOTHING)),
        ("sensors/m1/Temp", Topic(Meaning.VALUE, "m1", "Temp")),
        ("zigbee2mqtt/m1", Topic(Meaning.READINGS, "m1")),
        ("zigbee2mqtt/m1/availability", Topic(Meaning.STATUS, "m1")),
        ("other", Topic(Meaning.NOTHING)),
    ],
)
def test_patterns_name_device_and_metric(topic, meaning):
    assert meaning_in(patterns_of(PATTERNS), topic) == meaning


@pytest.mark.parametrize(
    "text", ["", "a/{device}x", "a/#/b", "{device}/{device}", "a/{unit}", "x/status", "a" * 257, "a/b+"]
)
def test_a_pattern_that_is_not_valid_is_refused(text):
    with pytest.raises(InvalidPattern):
        pattern_of(text)


def test_an_address_is_read():
    found = broker_address("mqtts://us%40er:p%2Fw@broker.example.org/?client_id=two")
    assert found == BrokerAddress("broker.example.org", 8883, True, "us@er", "p/w", "two")
    assert broker_address("mqtt://[::1]") == BrokerAddress("::1", 1883, False, None, None, "telemetry")


@pytest.mark.parametrize(
    "url",
    [
        "broker:1883",
        "http://broker",
        "mqtt://",
        "mqtt://broker:99999",
        "mqtt://broker/topic",
        "mqtt://broker?clientid=1",
        "mqtt://:secret@broker",
        "mqtt://broker?client_id=",
        "mqtt://a:se/cret@broker",
    ],
)
def test_an_address_that_is_not_valid_is_refused_without_showing_the_password(url):
    with pytest.raises(InvalidAddress) as error:
        broker_address(url)
    assert "cret" not in str(error.value)
