"""Requests to Django: limits per caller and process, and requests whose client leaves."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.db import OperationalError, connection, connections

from devices.database.work_kinds import Work, current_work, working_at
from devices.tests.fixtures import ADMIN_KEY
from readings.upkeep import maintenance
from telemetry.databases.cancellation import ClientGone, current_cancellation
from telemetry.gateway import request_slots
from telemetry.gateway.request_limits import (
    SWITCH_SECONDS,
    BoundedQuestions,
    Question,
    SharedInterpreter,
    address_of,
    credential_of,
    is_counted,
)
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = pytest.mark.django_db(transaction=True)

ENDLESS = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}
WITHIN_SECONDS = 5


def scope_of(method="GET", path="/api/v1/devices", client=("192.0.2.7", 1), **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": named, "client": client}


class Client:
    """One request to an application, whose client can leave."""

    def __init__(self, application: Any, scope: dict[str, Any]) -> None:
        self.sent: list[Any] = []
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.events.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.task = asyncio.create_task(application(scope, self.events.get, self.send))

    async def send(self, event: Any) -> None:
        self.sent.append(event)

    def leave(self) -> None:
        self.events.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    async def end(self) -> None:
        async with asyncio.timeout(WITHIN_SECONDS):
            await self.task


class Application:
    """Runs `work` in a thread, as Django runs a view, and answers with its result."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.began = asyncio.Event()
        self.outcomes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.began.set()
        async with ThreadSensitiveContext():
            try:
                outcome = await sync_to_async(self.in_thread)()
            except Exception as error:
                outcome = error
        self.outcomes.append(outcome)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def in_thread(self) -> Any:
        try:
            return self.work()
        finally:
            connections.close_all()


def ask_for_ever() -> None:
    with connection.cursor() as cursor:
        cursor.execute(ENDLESS[connection.vendor])
        cursor.fetchall()


def test_a_question_whose_client_leaves_is_interrupted_in_the_database():
    async def story():
        application = Application(ask_for_ever)
        questions = BoundedQuestions(application, per_caller=4)
        client = Client(questions, scope_of())
        await application.began.wait()
        client.leave()
        await client.end()
        assert isinstance(application.outcomes[0], ClientGone)
        assert client.sent == []
        assert questions.places.held == {}

    asyncio.run(story())


def test_an_abandoned_question_asks_nothing_more():
    entered, left, tried = threading.Event(), threading.Event(), []

    def ask_page_after_page():
        entered.set()
        left.wait(WITHIN_SECONDS)
        for _ in range(3):
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            except OperationalError as error:
                tried.append(type(error))

    async def story():
        application = Application(ask_page_after_page)
        client = Client(BoundedQuestions(application, per_caller=4), scope_of())
        await asyncio.to_thread(entered.wait, WITHIN_SECONDS)
        client.leave()
        await asyncio.sleep(0.05)
        left.set()
        await client.end()
        assert tried == [ClientGone] * 3

    asyncio.run(story())


def test_a_write_whose_client_leaves_is_finished():
    entered, left = threading.Event(), threading.Event()

    def write():
        entered.set()
        left.wait(WITHIN_SECONDS)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 7")
            return cursor.fetchone()[0]

    async def story():
        application = Application(write)
        client = Client(BoundedQuestions(application, per_caller=4), scope_of("PATCH"))
        await asyncio.to_thread(entered.wait, WITHIN_SECONDS)
        client.leave()
        await asyncio.sleep(0.05)
        left.set()
        await client.end()
        assert application.outcomes == [7]

    asyncio.run(story())


def test_a_request_that_the_server_kills_goes_on_to_its_end():
    entered, left = threading.Event(), threading.Event()

    def wait():
        entered.set()
        left.wait(WITHIN_SECONDS)
        return "ended"

    async def story():
        application = Application(wait)
        questions = BoundedQuestions(application, per_caller=4)
        client = Client(questions, scope_of("PATCH"))
        await asyncio.to_thread(entered.wait, WITHIN_SECONDS)
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.end()
        assert questions.places.held
        left.set()
        await asyncio.wait(questions.tasks, timeout=WITHIN_SECONDS)
        assert application.outcomes == ["ended"]
        assert questions.places.held == {}

    asyncio.run(story())


def test_a_stream_ends_when_its_client_leaves():
    begun = asyncio.Event()

    async def stream(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            begun.set()
            await asyncio.sleep(0.001)

    async def story():
        questions = BoundedQuestions(stream, per_caller=4)
        client = Client(questions, scope_of())
        await begun.wait()
        client.leave()
        await client.end()
        assert questions.places.held == {}

    asyncio.run(story())


@pytest.fixture
def short_wait(monkeypatch):
    monkeypatch.setattr(request_slots, "WAIT_SECONDS", 0.05)


@pytest.fixture
def held():
    """An application that answers when the test releases it."""

    class Held:
        def __init__(self) -> None:
            self.go = asyncio.Event()

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return Held


def refusal_of(client):
    return client.status, dict(client.sent[0]["headers"]), client.sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("path", "accept", "media_type"),
    [("/api/v1/devices", "*/*", b"application/problem+json"), ("/admin/", "text/html", b"text/html; charset=utf-8")],
)
def test_one_question_too_many_is_a_429_that_names_the_bound(short_wait, held, path, accept, media_type):
    async def story():
        application = held()
        questions = BoundedQuestions(application, per_caller=4)
        clients = [Client(questions, scope_of(path=path, accept=accept)) for _ in range(5)]
        await clients[4].end()
        application.go.set()
        await asyncio.gather(*(client.end() for client in clients))
        status, headers, body = refusal_of(clients[4])
        assert status == 429
        assert headers[b"content-type"] == media_type
        assert headers[b"retry-after"] == b"2"
        assert "4 requests" in body
        assert "QUESTIONS_PER_CALLER" in body
        assert headers[b"x-request-id"].decode() in body
        assert [client.status for client in clients[:4]] == [200] * 4

    asyncio.run(story())


def test_too_many_questions_of_all_are_a_503_that_names_the_bound(short_wait, held):
    async def story():
        application = held()
        questions = BoundedQuestions(application, per_caller=4)
        clients = [
            Client(questions, scope_of(client=(f"192.0.2.{n}", 1))) for n in range(request_slots.QUESTIONS_PER_PROCESS)
        ]
        late = Client(questions, scope_of(client=("192.0.2.99", 1)))
        await late.end()
        application.go.set()
        await asyncio.gather(*(client.end() for client in clients))
        status, headers, body = refusal_of(late)
        assert status == 503
        assert b"retry-after" in headers
        assert "10 requests" in body
        assert "QUESTIONS_PER_PROCESS" in body

    asyncio.run(story())


def test_a_page_of_an_allowed_origin_can_read_the_refusal(short_wait, held, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://dashboard.example.org"]
    preflight = {"access_control_request_method": "GET"}

    async def story():
        application = held()
        questions = BoundedQuestions(application, per_caller=4)
        clients = [Client(questions, scope_of()) for _ in range(4)]
        late = [
            Client(questions, scope_of(origin="https://dashboard.example.org")),
            Client(questions, scope_of(origin="https://evil.example.net")),
            Client(questions, scope_of("OPTIONS", origin="https://dashboard.example.org", **preflight)),
        ]
        await asyncio.gather(*(client.end() for client in late))
        application.go.set()
        await asyncio.gather(*(client.end() for client in clients))
        (status, headers, body), (other, no_headers, _), (asked, allowed, _) = map(refusal_of, late)
        assert (status, other, asked) == (429, 429, 200)
        assert headers[b"access-control-allow-origin"] == b"https://dashboard.example.org"
        assert b"retry-after" in headers[b"access-control-expose-headers"]
        assert "QUESTIONS_PER_CALLER" in body
        assert b"access-control-allow-origin" not in no_headers
        assert b"x-api-key" in allowed[b"access-control-allow-headers"]

    asyncio.run(story())


def test_what_is_no_question_takes_no_place():
    for path in (
        "/health",
        "/health/",
        "/health/ready",
        "/api/v1/health",
        "/static/realtime/icon.svg",
        "/admin/login/",
    ):
        assert not is_counted(path), path
    for path in ("/api/v1/devices", "/admin/", "/live/mote-1/", "/metrics", "/api/v1/schema"):
        assert is_counted(path), path


def test_callers_are_told_apart_by_what_counts_at_that_address():
    key, session = credential_of(scope_of(x_api_key="one")), credential_of(scope_of(cookie="a=b; sessionid=one"))
    assert {kind for _, kind in (key, session)} == {"key", "session"}
    assert credential_of(scope_of(authorization="Bearer one")) == key
    assert credential_of(scope_of(x_api_key="one", cookie="sessionid=two")) == key
    assert credential_of(scope_of(path="/admin/", x_api_key="other", cookie="sessionid=one"))[1] == "session"
    assert credential_of(scope_of(path="/admin/", x_api_key="one")) == ("", "")
    assert address_of(scope_of(client=("2001:db8::1", 1))) == address_of(scope_of(client=("2001:db8::2", 1)))
    assert address_of(scope_of(client=None)) == ""


def test_a_key_counts_for_itself_once_it_is_known_and_a_made_up_one_to_its_address(mote):
    from telemetry.asgi import questions

    def caller(key):
        return questions.caller_of(Question(scope_of(x_api_key=key)))

    questions.known.clear()
    assert caller(ADMIN_KEY) == "address 192.0.2.7"

    async def ask(client):
        for key in (ADMIN_KEY, mote[1], "made-up"):
            await client.get("/devices/mote-1", headers={"X-API-Key": key})
            await client.get("/schema", headers={"X-API-Key": key})

    through_the_lane(ask)

    assert len({caller(ADMIN_KEY), caller(mote[1]), "address 192.0.2.7"}) == 3
    assert caller("made-up") == "address 192.0.2.7"


@pytest.mark.postgresql  # SQLite has no pool
def test_a_thread_that_ends_without_closing_its_connection_gives_it_back():
    def leave_it_open():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def out():
        statistics = connection.pool.get_stats()  # type: ignore[attr-defined]  # our backend's pool
        return statistics["pool_size"] - statistics["pool_available"]

    connection.ensure_connection()
    before = out()
    for _ in range(20):  # more than the connections of the pool
        thread = threading.Thread(target=leave_it_open)
        thread.start()
        thread.join()
        gc.collect()
    # A thread of the pool replaces closed connections.
    deadline = time.monotonic() + WITHIN_SECONDS
    while out() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert out() == before


def test_a_question_has_the_deadlines_of_one_also_in_a_process_that_began_with_upkeep():
    async def story():
        application = Application(current_work.get)
        await Client(BoundedQuestions(application, per_caller=4), scope_of()).end()
        assert application.outcomes == [Work.QUESTION]

    with working_at(Work.UPKEEP):
        asyncio.run(story())


@pytest.mark.slow
def test_maintenance_and_commands_have_the_deadlines_of_upkeep(monkeypatch):
    stop, seen = threading.Event(), []

    def maintain(**_):
        seen.append(current_work.get())
        stop.set()
        return maintenance.Round()

    monkeypatch.setattr(maintenance, "maintain", maintain)
    thread = threading.Thread(target=maintenance.keep_maintaining, args=[stop])
    thread.start()
    thread.join()
    assert seen == [Work.UPKEEP]

    printing = "from devices.database.work_kinds import current_work; print(current_work.get())"
    environment = os.environ | {"SECRET_KEY": settings.SECRET_KEY, "API_SECRET_KEY": settings.API_SECRET_KEY}
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", printing]
    printed = subprocess.run(command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True)
    assert printed.stdout.strip() == Work.UPKEEP, printed.stderr


def test_nothing_outside_a_request_is_interruptible():
    assert current_cancellation.get() is None


def test_threads_take_turns_more_often_while_queries_run():
    usual = sys.getswitchinterval()
    interpreter = SharedInterpreter()

    interpreter.enter()
    interpreter.enter()
    interpreter.leave()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    interpreter.leave()
    assert sys.getswitchinterval() == usual
