"""Messages by e-mail, through the mail server in EMAIL_URL."""

import smtplib
import socket
import threading
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.smtp import EmailBackend

from readings.alarms.delivery.answers import TRY_SECONDS, Answer, plain

SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
UNSET = "EMAIL_URL is not set, so this server sends no e-mail. Set it to the address of a mail server and restart."
SUBJECT_CHARACTERS = 200


def send(address: str, *, subject: str, body: str, message_id: str) -> Answer:
    """Sends an e-mail. Delivered means that the mail server has accepted it. Takes at most about TRY_SECONDS."""
    if not settings.EMAIL_URL_SET:
        return Answer(False, UNSET)
    # Each try has the same Message-ID, by which a mail program recognises a repeated one.
    headers = {"Message-ID": f"<{message_id}@telemetry>", "Date": formatdate(), "Auto-Submitted": "auto-generated"}
    bounded = f"{__name__}.BoundedBackend" if settings.EMAIL_BACKEND == SMTP_BACKEND else None
    message = EmailMessage(
        plain(subject, SUBJECT_CHARACTERS),
        body,
        settings.DEFAULT_FROM_EMAIL,
        [address],
        connection=get_connection(backend=bounded, fail_silently=False),
        headers=headers,
    )
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        (status, reason), *_ = error.recipients.values()
        return Answer(False, f"The mail server refused the address: {status} {said(reason)}")
    except smtplib.SMTPResponseException as error:
        return Answer(False, f"The mail server answered {error.smtp_code} {said(error.smtp_error)}")
    except TimeoutError:
        return Answer(False, "The mail server did not answer in time.", away=True)
    except (smtplib.SMTPException, OSError) as error:
        return Answer(False, f"No connection to the mail server: {plain(str(error), 150)}", away=True)
    return Answer(True, "The mail server accepted the message.")


def said(reason: bytes | str) -> str:
    return plain(reason.decode(errors="replace") if isinstance(reason, bytes) else reason, 150)


class Bounded:
    """Part of an SMTP connection: closes its socket after TRY_SECONDS, however much the server says until then."""

    sock: socket.socket | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.timer = threading.Timer(TRY_SECONDS, self.cut)
        self.timer.daemon = True
        self.timer.start()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self.timer.cancel()
            raise

    def cut(self) -> None:
        with suppress(OSError):
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.timer.cancel()
        super().close()  # type: ignore[misc]


class BoundedSMTP(Bounded, smtplib.SMTP):
    pass


class BoundedSMTPOverTLS(Bounded, smtplib.SMTP_SSL):
    pass


class BoundedBackend(EmailBackend):
    @property
    def connection_class(self) -> Any:
        return BoundedSMTPOverTLS if self.use_ssl else BoundedSMTP
