"""Data types of packets (3.1.1 and 5, section 1.5)."""

from struct import Struct

from readings.doors.mqtt.codec.reasons import PacketError

TWO_BYTES = Struct(">H")
FOUR_BYTES = Struct(">I")
# The largest number that a variable byte integer of four bytes encodes.
VARIABLE_MAX = 268_435_455


class Fields:
    """Reads the fields of a packet's body in order. Every method raises PacketError if the field is not complete."""

    __slots__ = ("body", "place")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.place = 0

    def at_end(self) -> bool:
        return self.place >= len(self.body)

    def take(self, count: int) -> bytes:
        start, self.place = self.place, self.place + count
        if self.place > len(self.body):
            raise PacketError("The packet ends inside a field.")
        return self.body[start : self.place]

    def byte(self) -> int:
        return self.take(1)[0]

    def two_bytes(self) -> int:
        return int(TWO_BYTES.unpack(self.take(2))[0])

    def four_bytes(self) -> int:
        return int(FOUR_BYTES.unpack(self.take(4))[0])

    def variable(self) -> int:
        value = shift = 0
        while True:
            encoded = self.byte()
            value |= (encoded & 0x7F) << shift
            if encoded < 0x80:
                return value
            shift += 7
            if shift > 21:
                raise PacketError("A variable byte integer has more than four bytes.")

    def binary(self) -> bytes:
        return self.take(self.two_bytes())

    def text(self) -> str:
        """A UTF-8 string without NUL and surrogates [MQTT-1.5.3-1, 1.5.3-2]; a byte order mark stays [MQTT-1.5.3-3]."""
        encoded = self.binary()
        try:
            text = encoded.decode()
        except UnicodeDecodeError as error:
            raise PacketError("A text is not valid UTF-8.") from error
        if "\0" in text:
            raise PacketError("A text contains the character NUL.")
        return text

    def rest(self) -> bytes:
        return self.take(len(self.body) - self.place)

    def end(self) -> None:
        if not self.at_end():
            raise PacketError("The packet is longer than its fields.")


def encoded_variable(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | 0x80 if value else digit)
        if not value:
            return bytes(encoded)


def encoded_text(text: str) -> bytes:
    return encoded_binary(text.encode())


def encoded_binary(content: bytes) -> bytes:
    return TWO_BYTES.pack(len(content)) + content
