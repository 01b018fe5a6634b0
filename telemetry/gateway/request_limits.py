"""Requests to Django: limits how many run at the same time, and ends those whose client leaves.

A question is any request except ingest, health, static files and signing in. It takes a place
(`telemetry.gateway.request_slots`) before it takes a thread and a database connection, and releases it when its answer
was sent or abandoned.
"""

import asyncio
import ipaddress
import logging
import sys
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent
from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.http.response import HttpResponseBase

from devices.access.authentication import key_in
from devices.access.callers import Caller
from devices.database.work_kinds import Work, current_work
from devices.keys import hash_key
from devices.plurals import counted
from telemetry.databases.cancellation import Cancellation, ClientGone, current_cancellation
from telemetry.gateway.request_slots import QUESTIONS_PER_PROCESS, WAIT_SECONDS, NoPlace, Places
from telemetry.middleware.access_log import observe
from telemetry.middleware.content_security_policy import HEADER
from telemetry.middleware.problems import answer
from telemetry.middleware.request_id import Middleware, begin_request
from telemetry.monitoring.instruments import QUESTIONS, QUESTIONS_REFUSED, REQUESTS_ABANDONED

logger = logging.getLogger(__name__)

UNCOUNTED = frozenset(
    ("", "/health", "/health/live", "/health/ready", "/api/v1/health", "/favicon.ico", "/admin/login")
)
# Paths on which API keys are accepted, and so identify callers.
KEYS_COUNT = ("/api/", "/metrics")
READING = ("GET", "HEAD")
# Hashes of known credentials that are kept.
KNOWN_MAX = 10_000
# A client can use any address of its IPv6 network, so the network counts as one address.
IPV6_PREFIX = 64
# Threads that interrupt statements of abandoned requests, and the seconds in which a cancelled request must end.
INTERRUPTERS = 4
CANCELLED_SECONDS = 1.0
# How long a thread keeps the interpreter's lock when others want it, while a query runs. A commit takes the lock some
# twenty times: beside four queries Python's default of 5 ms can delay it by 100 ms and more. Without queries the
# default stays, because switching more often costs ingest about 5 % of its CPU time.
SWITCH_SECONDS = 0.0002
USUAL_SWITCH_SECONDS = sys.getswitchinterval()


class KnownCallers(Middleware):
    """Middleware: notes on a question how its caller was identified, so that the credential counts as known."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        question = getattr(request, "scope", {}).get("question")
        if isinstance(question, Question):
            question.proven = proven_by(request)
        return response


def proven_by(request: HttpRequest) -> str:
    """How the request's caller was identified: "key", "session", or "" for neither."""
    caller = getattr(request, "auth", None)
    if isinstance(caller, Caller):
        return "session" if caller.user else "key"
    # Only if the session's account was loaded already: loading it here would be a query.
    user = getattr(request, "_cached_user", None)
    return "session" if user is not None and user.is_authenticated else ""


class Question:
    """One request to Django, with its caller's credential and address."""

    def __init__(self, scope: Any) -> None:
        self.credential, self.kind = credential_of(scope)
        self.address = address_of(scope)
        # Writes are not interrupted when the client leaves, because it asked for the change.
        self.cancellation = Cancellation() if scope["method"] in READING else None
        self.abandoned = False
        # Set by KnownCallers: "key", "session" or "".
        self.proven = ""


def credential_of(scope: Any) -> tuple[str, str]:
    """The hash of a request's key or session, and which it is: "key", "session", or "" for neither."""
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in (b"x-api-key", b"authorization", b"cookie"):
            text = value.decode("latin-1")
            headers[name] = f"{headers[name]},{text}" if name in headers else text
    if scope["path"].startswith(KEYS_COUNT):
        key = key_in(api_key=headers.get(b"x-api-key"), authorization=headers.get(b"authorization"))
        if key is not None:
            return hash_key(key), "key"
    session = parse_cookie(headers.get(b"cookie", "")).get(settings.SESSION_COOKIE_NAME)
    return (hash_key(session), "session") if session else ("", "")


def address_of(scope: Any) -> str:
    """The client's IPv4 address, its IPv6 network of 64 bits, or "" for a Unix socket."""
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address or "")


def is_counted(path: str) -> bool:
    return not path.startswith("/static/") and path.rstrip("/") not in UNCOUNTED


class SharedInterpreter:
    """Lets threads take turns more often while queries run. For the event loop's thread alone."""

    def __init__(self) -> None:
        self.running = 0

    def enter(self) -> None:
        self.running += 1
        if self.running == 1:
            sys.setswitchinterval(SWITCH_SECONDS)

    def leave(self) -> None:
        self.running -= 1
        if not self.running:
            sys.setswitchinterval(USUAL_SWITCH_SECONDS)


class BoundedQuestions:
    """ASGI application around Django's, for HTTP.

    Django's handler runs in a task that no server cancels, because a request that is killed while its thread waits for
    the database would never give its connection back. When the client of a GET or HEAD leaves, its statements are
    interrupted instead, and the handler ends by itself.

    A caller is identified by its key or session. Until an answer has shown that this credential is known, its requests
    count for its address, like those without a credential: invented keys give a client no further places.
    """

    def __init__(self, application: Any, *, per_caller: int) -> None:
        self.application = application
        self.places = Places(total=QUESTIONS_PER_PROCESS, per_caller=per_caller)
        self.known: OrderedDict[str, None] = OrderedDict()
        # The event loop keeps only weak references to tasks.
        self.tasks: set[asyncio.Task[None]] = set()
        self.interpreter = SharedInterpreter()
        self.interrupters = ThreadPoolExecutor(INTERRUPTERS, "interrupters")

    async def __call__(self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        arrived_at = time.perf_counter()
        body = await receive()
        gone = asyncio.ensure_future(receive())
        try:
            question = Question(scope)
            caller = self.caller_of(question) if is_counted(scope["path"]) else None
            if caller is not None and not await self.places.take(caller, unless=gone):  # type: ignore[arg-type]
                return
            task = asyncio.create_task(self.serve(question, caller, scope, body, send))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            await self.attend(question, task, gone)
        except NoPlace as refusal:
            await refuse(refusal, scope, send, arrived_at)
        finally:
            gone.cancel()

    def caller_of(self, question: Question) -> str:
        """The caller whose places the question takes: a credential's hash, or an address."""
        if question.credential in self.known:
            self.known.move_to_end(question.credential)
            return question.credential
        return f"address {question.address}"

    async def serve(
        self, question: Question, caller: str | None, scope: Any, body: ASGIReceiveEvent, send: ASGISendCallable
    ) -> None:
        """Runs Django's handler until the answer is sent, then releases the caller's place."""
        if caller is not None:
            QUESTIONS.inc()
            self.interpreter.enter()
        current_work.set(Work.QUESTION)
        current_cancellation.set(question.cancellation)
        events = [body]

        async def receive() -> ASGIReceiveEvent:
            if events:
                return events.pop()
            # Never tell Django that the client left: it would cancel the view and leave its thread running.
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

        async def sending(event: ASGISendEvent) -> None:
            if question.abandoned:
                raise asyncio.CancelledError  # Django then ends and closes the response, also a streamed one
            await send(event)

        try:
            await self.application(scope | {"question": question}, receive, sending)
        except ClientGone:
            logger.debug("A streamed answer was abandoned")
        finally:
            if caller is not None:
                self.places.release(caller)
                QUESTIONS.dec()
                self.interpreter.leave()
            if question.credential and question.proven == question.kind:
                self.remember(question.credential)

    async def attend(self, question: Question, task: "asyncio.Task[None]", gone: "asyncio.Future[Any]") -> None:
        """Waits until the task has ended. Abandons the question if its client leaves or the server cancels it."""
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.abandon(question)
                await asyncio.wait((task,))
        except asyncio.CancelledError:
            self.abandon(question)
            await asyncio.wait((task,), timeout=CANCELLED_SECONDS)
            raise
        if not task.cancelled():
            task.result()

    def abandon(self, question: Question) -> None:
        if question.abandoned:
            return
        question.abandoned = True
        REQUESTS_ABANDONED.inc()
        if question.cancellation:
            question.cancellation.requested = True
            self.interrupters.submit(question.cancellation.interrupt)

    def remember(self, credential: str) -> None:
        self.known[credential] = None
        self.known.move_to_end(credential)
        if len(self.known) > KNOWN_MAX:
            self.known.popitem(last=False)


async def refuse(refusal: NoPlace, scope: Any, send: ASGISendCallable, arrived_at: float) -> None:
    """Sends the answer to a refused question: 429 if the caller's own limit is reached, else 503.

    With the headers of CORS, without which a page of another origin sees an error that says nothing. A preflight
    request is answered as usual, because the request after it gets the refusal.
    """
    QUESTIONS_REFUSED.labels("caller" if refusal.of_caller else "process").inc()
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    request = HttpRequest()
    request.method, request.path, request.path_info = scope["method"], scope["path"], scope["path"]
    client = scope.get("client")
    request.META = {"REMOTE_ADDR": client[0] if client else "", "HTTP_ACCEPT": headers.get(b"accept", "")}
    for name in (b"origin", b"access-control-request-method"):
        if name in headers:
            request.META[f"HTTP_{name.decode().upper().replace('-', '_')}"] = headers[name]
    identifier = begin_request(headers.get(b"x-request-id", ""))
    if refusal.of_caller:
        running = counted(settings.QUESTIONS_PER_CALLER, "request", "requests")
        detail = f"The caller has {running} running, the limit (QUESTIONS_PER_CALLER). Try again later."
        response = answer(request, status_code=429, code="too_many_questions", detail=detail)
        response["Retry-After"] = f"{WAIT_SECONDS:.0f}"
    else:
        detail = (
            f"A process runs {QUESTIONS_PER_PROCESS} requests at a time (QUESTIONS_PER_PROCESS in "
            "telemetry/gateway/request_slots.py), and no place is free. Try again later."
        )
        response = answer(request, status_code=503, code="overloaded", detail=detail)
    cors = CorsMiddleware(lambda _: response)
    if isinstance(preflight := cors.check_preflight(request), HttpResponse):
        response = preflight
    cors.add_response_headers(request, response)
    response["X-Request-ID"] = identifier
    response["Cache-Control"] = "private, no-store"
    response["Content-Security-Policy"] = HEADER
    response["Content-Length"] = str(len(response.content))
    observe(request, response.status_code, "refused", arrived_at)
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": encoded, "trailers": False})
    body = b"" if scope["method"] == "HEAD" else response.content
    await send({"type": "http.response.body", "body": body, "more_body": False})
