"""Messages to a webhook, signed after the Standard Webhooks specification (https://www.standardwebhooks.com)."""

import base64
import hashlib
import hmac
import ssl
import time
from datetime import datetime
from functools import cache
from http import HTTPStatus

import httpcore
import httpx

from readings.alarms.delivery.addresses import AddressRefused
from readings.alarms.delivery.answers import ANSWER_BYTES, TRY_SECONDS, Answer, plain
from readings.alarms.delivery.network import CheckedBackend, DeadlinePassed, NameUnknown, words_of
from readings.alarms.delivery.targets import webhook_url

FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.UnsupportedProtocol)


def post(target: str, body: bytes, *, message_id: str, secret: str, now: datetime) -> Answer:
    """Posts the body. Delivered means an answer with a status of 200 to 299. Takes at most about TRY_SECONDS."""
    url = webhook_url(target)
    headers = signed(body, message_id=message_id, secret=secret, now=now)
    backend = CheckedBackend(deadline=time.monotonic() + TRY_SECONDS)
    pool = httpcore.ConnectionPool(ssl_context=tls(), max_keepalive_connections=0, network_backend=backend)
    address = httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path.partition(b"#")[0]
    )
    try:
        with pool, pool.stream("POST", address, headers=headers | {"Host": url.netloc.decode()}, content=body) as got:
            return answered(got.status, beginning(got))
    except AddressRefused as error:
        return Answer(False, words_of(error))
    except (*FAILURES, NameUnknown, DeadlinePassed, OSError) as error:
        return Answer(False, words_of(error), away=True)


def signed(body: bytes, *, message_id: str, secret: str, now: datetime) -> dict[bytes | str, bytes | str]:
    """The headers of a try. `secret`: `whsec_` and the key in base64."""
    timestamp = str(int(now.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, b".".join((message_id.encode(), timestamp.encode(), body)), hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": "telemetry-alarms",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


@cache
def tls() -> ssl.SSLContext:
    """Verifies certificates with certifi's authorities, or with those in SSL_CERT_FILE."""
    return httpx.create_ssl_context()


def beginning(response: httpcore.Response) -> bytes:
    """At most ANSWER_BYTES of the answer; the rest is not read."""
    received = b""
    for part in response.iter_stream():
        received += part
        if len(received) >= ANSWER_BYTES:
            break
    return received[:ANSWER_BYTES]


def answered(status: int, body: bytes) -> Answer:
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    detail = f"The receiver answered {status}{phrase}."
    if 300 <= status < 400:
        detail += " Redirections are not followed; enter the address that it leads to."
    said = plain(body.decode(errors="replace"), 500)
    return Answer(200 <= status < 300, detail, said, away=status in (502, 503, 504))
