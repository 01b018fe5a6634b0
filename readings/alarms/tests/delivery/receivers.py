"""Real receivers on this machine: a webhook that verifies signatures and a mail server; and deliveries to them."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from standardwebhooks import Webhook

from readings.alarms.delivery.courier import Courier
from readings.alarms.models import Channel
from readings.alarms.tests.delivery.channels import channel
from readings.tests.logs import NOON


class Received(dict[str, Any]):
    """The JSON of a request; `id` is its `webhook-id`, `path` that of the request."""

    id: str
    path: str


class Hook:
    """A webhook. `answer` gets each message and returns the status; by default it is 204.

    `secret` None: signatures are not verified. A wrong signature is answered with 400 and not noted.
    """

    def __init__(self, secret: str | None = None) -> None:
        self.secret = secret
        self.received: list[Received] = []
        self.answer: Callable[[Received], int] = lambda _: 204
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.secret is not None:
                    try:
                        Webhook(hook.secret).verify(body, dict(self.headers.items()))
                    except Exception as error:
                        self.reply(400, repr(error).encode())
                        return
                got = Received(json.loads(body))
                got.id, got.path = self.headers.get("webhook-id", ""), self.path
                hook.received.append(got)
                self.reply(hook.answer(got), b"")

            do_PUT = do_POST  # noqa: N815

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{hook.url}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def ids(self) -> list[str]:
        return [got.id for got in self.received]

    @property
    def types(self) -> list[str]:
        return [got["type"] for got in self.received]

    def alarms(self, kind: str) -> list[list[str]]:
        """The device ids in each message of this type."""
        return [[alarm["device_id"] for alarm in got["data"]["alarms"]] for got in self.received if got["type"] == kind]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def hook_channel(name: str = "Desk") -> Iterator[tuple[Hook, Channel]]:
    """A webhook that listens, and its channel. It verifies the signatures."""
    hook = Hook()
    made = channel(name=name, target=f"{hook.url}/in")
    hook.secret = made.secret
    try:
        yield hook, made
    finally:
        hook.close()


class Mailbox:
    """The handler of a mail server. `refuses`: the answer to every recipient instead."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refuses: str | None = None

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.refuses:
            return self.refuses
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(envelope)
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mailbox, port
    finally:
        controller.stop()


def deliver(now: datetime = NOON, courier: Courier | None = None) -> Courier:
    """Delivers everything that is due at this time, as a new process would, or with this courier."""
    courier = courier or Courier()
    while courier.step(now=now):
        finish_tries(courier, now)
    return courier


def finish_tries(courier: Courier, now: datetime, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while courier.busy:
        assert time.monotonic() < deadline, "a try does not end"
        courier.record_results(now=now)
        time.sleep(0.002)
