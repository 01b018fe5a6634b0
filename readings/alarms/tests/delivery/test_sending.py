"""One message to one channel: what the receiver gets, and what is said if that fails."""

import contextlib
import email
import logging
import socket
import threading
import time
from typing import Any

import pytest
from django.core.mail.backends.smtp import EmailBackend  # noqa: F401  imported before the settings name it

from devices.tests.fixtures import problem
from readings.alarms.delivery.channels import new_secret
from readings.alarms.delivery.senders import answers, apprise_channel, mail, webhook
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.delivery.receivers import Hook, hook_channel, mail_server
from readings.tests.logs import NOON

pytestmark = [pytest.mark.once, pytest.mark.django_db]

CHANNELS = "/api/v1/channels"


def post(url, **given):
    values: dict[str, Any] = {"message_id": "01a21c3e", "secret": new_secret(), "now": NOON}
    return webhook.post(url, b"{}", **values | given)


def test_a_test_message_shows_the_answer_of_the_webhook(admin, caplog):
    caplog.set_level(logging.DEBUG)
    with hook_channel() as (hook, made):
        assert admin.post(f"{CHANNELS}/{made.pk}/test").json() == {
            "delivered": True,
            "detail": "The receiver answered 204 No Content.",
            "answer": None,
        }
        (got,) = hook.received
        assert (got["type"], got.path) == ("channel.test", "/in")
        hook.answer = lambda _: 503
        assert admin.post(f"{CHANNELS}/{made.pk}/test").json()["detail"] == (
            "The receiver answered 503 Service Unavailable."
        )
        hook.secret = new_secret()
        refused = admin.post(f"{CHANNELS}/{made.pk}/test").json()
    assert (refused["delivered"], refused["detail"]) == (False, "The receiver answered 400 Bad Request.")
    assert "WebhookVerificationError" in refused["answer"]
    assert made.secret not in caplog.text
    assert "/in" not in caplog.text
    problem(admin.post(f"{CHANNELS}/999/test"), 404)


def test_redirections_are_not_followed():
    hook = Hook()
    hook.answer = lambda _: 307
    answer = post(f"{hook.url}/in")
    hook.close()

    assert not answer.delivered
    assert "Redirections are not followed" in answer.detail
    assert [got.path for got in hook.received] == ["/in"]


@pytest.mark.parametrize(
    ("host", "detail"),
    [
        ("169.254.169.254", "metadata"),
        ("[::ffff:169.254.169.254]", "metadata"),
        ("[fe80::1]", "link-local"),
        ("0", "reserved"),
        ("0.0.0.0", "reserved"),
    ],
)
def test_link_local_and_metadata_addresses_are_refused(host, detail):
    answer = post(f"http://{host}/latest/meta-data")

    assert (answer.delivered, answer.away) == (False, False)
    assert detail in answer.detail


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_this_machine_is_refused_in_any_spelling_if_the_setting_says_so(settings, host):
    settings.ALLOW_PRIVATE_TARGETS = False
    hook = Hook()
    answer = post(f"http://{host}:{hook.server.server_address[1]}/")
    hook.close()

    assert "ALLOW_PRIVATE_TARGETS" in answer.detail
    assert hook.received == []


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch):
    """A name that has another address at the second look-up (DNS rebinding) gains nothing: there is one look-up."""
    hook = Hook()
    port = hook.server.server_address[1]
    looked_up = []

    def resolve(host, port, *_, **__):
        looked_up.append(host)
        address = "127.0.0.1" if looked_up.count("hooks.example.org") == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    answer = post(f"http://hooks.example.org:{port}/in")
    hook.close()

    assert answer.delivered
    assert looked_up == ["hooks.example.org", "127.0.0.1"]


def test_one_forbidden_address_of_a_name_is_enough(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.215.14", "169.254.1.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    assert "link-local" in post("http://hooks.example.org/in").detail


@contextlib.contextmanager
def server(talk):
    """A server of one connection; `talk` gets the socket in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    talk(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
    thread.join(10)


def drip(connection, text=b"x", times=400):
    for _ in range(times):
        connection.sendall(text)
        time.sleep(0.02)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"])
def test_an_answer_that_never_ends_ends_the_try_in_time(monkeypatch, start):
    monkeypatch.setattr(webhook, "TRY_SECONDS", 0.4)

    def talk(connection):
        connection.sendall(start)
        drip(connection)

    with server(talk) as port:
        started = time.monotonic()
        answer = post(f"http://127.0.0.1:{port}/")
        took = time.monotonic() - started
    assert not answer.delivered
    assert answer.away
    assert took < 3


def test_of_a_large_answer_only_the_beginning_is_read():
    def talk(connection):
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000000\r\n\r\n")
        drip(connection, b"y" * 100_000, times=3)

    with server(talk) as port:
        answer = post(f"http://127.0.0.1:{port}/")

    assert answer.detail == "The receiver answered 500 Internal Server Error."
    assert answer.body == "y" * 500


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("http://127.0.0.1:1/", "No connection to the receiver"),
        ("http://nobody.invalid/", "has no address"),
    ],
)
def test_a_receiver_that_is_not_there_is_away(url, detail):
    answer = post(url)

    assert answer.away
    assert detail in answer.detail


def test_a_receiver_without_tls_is_away():
    with server(lambda connection: connection.sendall(b"no TLS here\r\n" * 10)) as port:
        answer = post(f"https://127.0.0.1:{port}/")

    assert answer.away
    assert "TLS failed" in answer.detail


@pytest.fixture
def smtp(settings):
    with mail_server() as (mailbox, port):
        settings.EMAIL_BACKEND = mail.SMTP_BACKEND
        settings.EMAIL_URL_SET, settings.EMAIL_HOST, settings.EMAIL_PORT = True, "127.0.0.1", port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.DEFAULT_FROM_EMAIL = "Telemetry <telemetry@example.org>"
        yield mailbox


def test_an_e_mail_reaches_the_mail_server(admin, smtp):
    made = channel(kind="email", name="Ada\nBcc: eve@example.org", target="ada@example.org")

    answer = admin.post(f"{CHANNELS}/{made.pk}/test").json()

    assert answer == {"delivered": True, "detail": "The mail server accepted the message.", "answer": None}
    (envelope,) = smtp.mails
    message = email.message_from_bytes(envelope.content)
    assert (envelope.mail_from, envelope.rcpt_tos) == ("telemetry@example.org", ["ada@example.org"])
    assert (message["Subject"], message["To"]) == ("Test message", "ada@example.org")


def test_a_subject_has_one_line_and_the_id_stays_the_same(smtp):
    for _ in range(2):
        subject = "Critical: a\r\nBcc: eve@example.org\x00 b"
        assert mail.send("ada@example.org", subject=subject, body="x", message_id="01a21c3e").delivered

    messages = [email.message_from_bytes(envelope.content) for envelope in smtp.mails]
    assert {message["Subject"] for message in messages} == {"Critical: a Bcc: eve@example.org b"}
    assert {message["Message-ID"] for message in messages} == {"<01a21c3e@telemetry>"}
    assert [message["Bcc"] for message in messages] == [None, None]


def test_what_the_mail_server_refuses_is_said(smtp):
    smtp.refuses = "550 no such user here"
    answer = mail.send("ada@example.org", subject="x", body="x", message_id="x")

    assert not answer.delivered
    assert answer.detail == "The mail server refused the address: 550 no such user here"


def test_a_mail_server_that_never_ends_its_answer_ends_the_try_in_time(settings, smtp, monkeypatch):
    monkeypatch.setattr(mail, "TRY_SECONDS", 0.4)

    def talk(connection):
        drip(connection, b"220-hello\r\n")

    with server(talk) as port:
        settings.EMAIL_PORT = port
        started = time.monotonic()
        answer = mail.send("ada@example.org", subject="x", body="x", message_id="x")
    assert (answer.delivered, answer.away) == (False, True)
    assert time.monotonic() - started < 8


def test_without_a_mail_server_it_is_said_which_setting_is_missing(admin, settings):
    settings.EMAIL_URL_SET = False
    made = channel(kind="email", target="ada@example.org")

    answer = admin.post(f"{CHANNELS}/{made.pk}/test").json()

    assert answer["delivered"] is False
    assert "EMAIL_URL is not set" in answer["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["json", "ntfy"])
def test_apprise_sends_to_its_services(admin, caplog, scheme):
    caplog.set_level(logging.DEBUG)
    hook = Hook()
    made = channel(kind="apprise", target=f"{scheme}://{hook.url.removeprefix('http://')}/topic-of-ours")
    hook.answer = lambda _: 200
    answer = admin.post(f"{CHANNELS}/{made.pk}/test").json()
    hook.answer = lambda _: 404
    refused = admin.post(f"{CHANNELS}/{made.pk}/test").json()
    hook.answer = lambda _: 302
    redirected = apprise_channel.send(made.target, title="x", body="x", kind="info")
    hook.close()

    assert answer["delivered"] is True
    assert refused["detail"] == "The service answered with status 404."
    assert redirected.detail == "The service answered with status 302."
    assert "Test message" in str(hook.received[0])
    assert len(hook.received) == 3
    assert "topic-of-ours" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("json://169.254.169.254/", "metadata"),
        ("json://[::ffff:169.254.169.254]/", "metadata"),
        ("mailto://127.0.0.1:{port}?to=a@example.org&from=b@example.org", "ALLOW_PRIVATE_TARGETS"),
        ("mqtt://127.0.0.1:{port}/topic", "ALLOW_PRIVATE_TARGETS"),
        ("msteams://a@b/c/d/e/?template=/etc/passwd", ""),
    ],
)
def test_apprise_connects_to_no_address_that_is_refused_whichever_service(settings, url, detail):
    settings.ALLOW_PRIVATE_TARGETS = False
    hook = Hook()
    answer = apprise_channel.send(url.format(port=hook.server.server_address[1]), title="x", body="x", kind="info")
    hook.close()

    assert not answer.delivered
    assert detail in answer.detail
    assert hook.received == []


@pytest.mark.slow
def test_an_apprise_service_that_never_answers_ends_in_time(monkeypatch):
    monkeypatch.setattr(apprise_channel, "TRY_SECONDS", 4.0)

    def talk(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        drip(connection, times=1000)

    with server(talk) as port:
        answer = apprise_channel.send(f"json://127.0.0.1:{port}/", title="x", body="x", kind="info")
    assert (answer.delivered, answer.away, answer.detail) == (False, True, "No answer within 4 s.")


def test_a_text_for_people_has_one_line_and_a_length():
    assert answers.plain("a\n\tb\x00\x1b[31m c", 20) == "a b [31m c"
    assert len(answers.plain("x" * 1_000, 300)) == 300
