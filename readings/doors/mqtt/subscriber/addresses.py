"""The setting MQTT_BROKER_URL: `mqtt://user:password@host:1883/?client_id=telemetry`, or `mqtts://`."""

from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

PORTS = {"mqtt": 1883, "mqtts": 8883}
# The broker keeps the session, with the messages that wait, under this name.
CLIENT_ID = "telemetry"
CLIENT_ID_CHARACTERS = 128


class InvalidAddress(Exception):
    """The message says what is wrong, and never contains the password."""


class BrokerAddress(msgspec.Struct, frozen=True):
    host: str
    port: int
    tls: bool
    user_name: str | None
    password: str | None
    client_id: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def broker_address(url: str) -> BrokerAddress:
    """Raises InvalidAddress. A user name or password with special characters is percent-encoded."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidAddress("The host or the port cannot be read. Encode special characters, such as / as %2F.") from (
            error
        )
    if parts.scheme not in PORTS:
        raise InvalidAddress("It must begin with mqtt:// or mqtts://.")
    if not parts.hostname or port == 0:
        raise InvalidAddress("It must name a host, and a port other than 0.")
    if parts.path not in ("", "/") or parts.fragment:
        raise InvalidAddress("Nothing may follow the port but ?client_id=…. Topics are in MQTT_BROKER_TOPICS.")
    query = parse_qs(parts.query, keep_blank_values=True)
    client_id = query.pop("client_id", [CLIENT_ID])[-1]
    if query:
        raise InvalidAddress(f"It has an unknown parameter {next(iter(query))!r}. The only one is client_id.")
    if not 0 < len(client_id) <= CLIENT_ID_CHARACTERS:
        raise InvalidAddress(f"client_id must have 1 to {CLIENT_ID_CHARACTERS} characters.")
    if parts.password is not None and not parts.username:
        raise InvalidAddress("It has a password without a user name.")
    return BrokerAddress(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        user_name=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
        client_id=client_id,
    )
