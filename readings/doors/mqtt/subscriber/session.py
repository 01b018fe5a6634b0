"""One connection to the broker: signs in, subscribes, and hands on what is delivered."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from readings.doors.mqtt import instruments
from readings.doors.mqtt.codec import encoding
from readings.doors.mqtt.codec.packets import MQTT_3_1_1
from readings.doors.mqtt.codec.reasons import PacketError
from readings.doors.mqtt.subscriber import packets
from readings.doors.mqtt.subscriber.addresses import BrokerAddress
from readings.doors.mqtt.subscriber.packets import Admitted, Delivery, DeliveryStream, Subscribed

logger = logging.getLogger(__name__)

# Bytes of one message, as at the listener.
PACKET_BYTES_MAX = 256 * 1024
KEEP_ALIVE_SECONDS = 30
# Without a packet for this long, although a PINGREQ was sent, the connection counts as lost.
SILENCE_SECONDS = 60.0
CHECK_SECONDS = 5.0
SUBSCRIBE_ID = 1


class Ended(Exception):
    """Why a connection to the broker ended. `refused`: by the broker, so that it will not help to try again soon."""

    def __init__(self, detail: str, *, refused: bool = False) -> None:
        super().__init__(detail)
        self.refused = refused


class Session(asyncio.Protocol):
    """`admitted` is called once the broker accepts the connection, with True if it had kept the session.

    `delivered` is called with each message. `may_read` says whether there is room for more. `closed` has the reason
    when the connection has ended.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        address: BrokerAddress,
        filters: Sequence[str],
        *,
        admitted: Callable[["Session", bool], None],
        delivered: Callable[["Session", Delivery], None],
        may_read: Callable[[], bool],
    ) -> None:
        self.address, self.filters = address, filters
        self.on_admitted, self.on_delivered, self.may_read = admitted, delivered, may_read
        self.stream = DeliveryStream(PACKET_BYTES_MAX)
        self.is_admitted = self.subscribed = self.paused = False
        self.heard_at = time.monotonic()
        self.closed: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.checking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(packets.connect(self.address, keep_alive=KEEP_ALIVE_SECONDS))
        self.checking = asyncio.get_running_loop().call_later(CHECK_SECONDS, self.check)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(Ended(str(exc) if exc else "the broker has closed the connection"))
        if self.checking:
            self.checking.cancel()

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        self.stream.feed(data)
        self.read_on()

    def read_on(self) -> None:
        """Handles what was received, as far as there is room; then the broker is read no further."""
        try:
            while not self.is_closed() and self.may_read() and (packet := self.stream.next()) is not None:
                self.handle(packet)
        except PacketError as error:
            self.fail(Ended(str(error), refused=True))
        pause = not self.may_read()
        if pause is not self.paused and not self.transport.is_closing():
            self.paused = pause
            self.heard_at = time.monotonic()
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def handle(self, packet: object) -> None:
        if isinstance(packet, Delivery):
            self.on_delivered(self, packet)
        elif isinstance(packet, Admitted):
            if packet.code:
                detail = packets.RETURN_CODES.get(packet.code, f"it answers with the code {packet.code}")
                self.fail(Ended(f"the broker does not accept the connection: {detail}", refused=True))
                return
            self.is_admitted = True
            self.on_admitted(self, packet.resumed)
            # Also in a session that was kept, because the setting may have changed.
            self.transport.write(packets.subscribe(SUBSCRIBE_ID, self.filters))
        elif isinstance(packet, Subscribed):
            granted = []
            for text, code in zip(self.filters, packet.codes, strict=False):
                if code == packets.REFUSED:
                    logger.error("The MQTT broker %s refuses the subscription to %s.", self.address, text)
                else:
                    granted.append(text)
            if not granted:
                self.fail(Ended("the broker refuses all subscriptions", refused=True))
                return
            self.subscribed = True
            instruments.SUBSCRIBED.set(1)
            logger.info("Subscribed to %s at the MQTT broker %s.", ", ".join(granted), self.address)

    def acknowledge(self, packet_ids: Sequence[int]) -> bool:
        """Whether the acknowledgements were written to an open connection."""
        if self.is_closed() or self.transport.is_closing():
            return False
        self.transport.write(b"".join(encoding.puback(MQTT_3_1_1, packet_id) for packet_id in packet_ids))
        return True

    def check(self) -> None:
        """Sends PINGREQ, and ends a connection on which nothing arrives."""
        silent = time.monotonic() - self.heard_at
        if silent > SILENCE_SECONDS and not self.paused:
            self.fail(Ended("nothing arrives from the broker"))
            return
        # While reading is paused too: the broker must not take this client for dead.
        if self.is_admitted and (silent > KEEP_ALIVE_SECONDS / 2 or self.paused):
            self.transport.write(packets.PING)
        self.checking = asyncio.get_running_loop().call_later(CHECK_SECONDS, self.check)

    def is_closed(self) -> bool:
        return self.closed.done()

    def end(self, ended: Ended) -> None:
        if not self.closed.done():
            self.closed.set_result(ended)
        if self.subscribed:
            instruments.SUBSCRIBED.set(0)

    def fail(self, ended: Ended) -> None:
        self.end(ended)
        self.transport.abort()

    def finish(self) -> None:
        """Signs off; the broker keeps the session, and the messages that were not acknowledged."""
        if not self.is_closed():
            self.transport.write(packets.DISCONNECT)
            self.end(Ended("this server stops"))
        self.transport.close()
