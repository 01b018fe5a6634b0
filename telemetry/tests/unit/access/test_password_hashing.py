"""Few passwords are hashed at the same time, and requests without a turn are refused."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.db import connection

from devices.tests.fixtures import new_client
from telemetry import password_hashing
from telemetry.configuration.installation import OPERATOR, create_operator
from telemetry.console.set_password import link_for
from telemetry.password_hashing import HASHES_AT_ONCE, HASHES_WAITING, BoundedPBKDF2PasswordHasher, TooManyHashes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PASSWORD = "correct horse battery"
ALLOWED = HASHES_AT_ONCE + HASHES_WAITING


@pytest.fixture(autouse=True)
def hashers(settings):
    """The product's hasher, with few iterations."""
    settings.PASSWORD_HASHERS = ["telemetry.password_hashing.BoundedPBKDF2PasswordHasher"]


@pytest.fixture
def held(monkeypatch):
    """Hashes that end when the test releases them; `most` counts those that ran at once."""

    class Held:
        free, lock = threading.Event(), threading.Lock()
        running = most = 0

    def encode(self, password, salt, iterations=None):
        with Held.lock:
            Held.running += 1
            Held.most = max(Held.most, Held.running)
        assert Held.free.wait(30)
        with Held.lock:
            Held.running -= 1
        return f"pbkdf2_sha256$1000000${salt}$hash"

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", encode)
    yield Held
    Held.free.set()


def sign_in(name="nobody-of-this-name", **headers):
    try:
        return new_client().post("/admin/login/", {"username": name, "password": "x"}, format="multipart", **headers)
    finally:
        connection.close()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_few_are_hashed_at_a_time_and_a_bounded_number_waits(held):
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(sign_in, f"name-{n}") for n in range(40)]
        wait_for(lambda: sum(each.done() for each in asked) == 40 - ALLOWED)
        held.free.set()
        statuses = sorted(each.result().status_code for each in asked)

    assert statuses == [200] * ALLOWED + [429] * (40 - ALLOWED)
    assert held.most == HASHES_AT_ONCE


def test_who_has_no_turn_reads_why_and_when_to_come_back(held):
    with ThreadPoolExecutor(ALLOWED) as pool:
        asked = [pool.submit(sign_in, f"name-{n}") for n in range(ALLOWED)]
        wait_for(lambda: password_hashing.places._value == 0)
        refused = sign_in(HTTP_ACCEPT="text/html")
        held.free.set()
        assert [each.result().status_code for each in asked] == [200] * ALLOWED

    assert refused.status_code == 429
    assert refused["Retry-After"] == "5"
    assert "HASHES_WAITING" in refused.content.decode()
    assert sign_in().status_code == 200


def test_who_waits_too_long_gives_the_place_back(held, monkeypatch):
    monkeypatch.setattr(password_hashing, "HASH_SECONDS", 0.05)
    for _ in range(ALLOWED):
        with pytest.raises(TooManyHashes):
            make_password(PASSWORD)
    held.free.set()
    wait_for(lambda: password_hashing.places._value == ALLOWED)


def test_who_waits_has_no_connection_to_the_database(held):
    connections = []

    def wait():
        User.objects.exists()
        connections.append(connection)
        make_password(PASSWORD)
        connection.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_for(lambda: held.running == 1)
    assert connections[0].connection is None
    held.free.set()
    waiting.join()


@pytest.mark.parametrize("name", ["admin", "nobody", "closed", "without"])
def test_every_name_costs_one_hash(name, monkeypatch):
    User.objects.create_user("admin", password=PASSWORD)
    User.objects.create_user("closed", password=PASSWORD, is_active=False)
    User.objects.create_user("without", password=None)
    calls = []
    encode = PBKDF2PasswordHasher.encode

    def counted(*values):
        calls.append(values)
        return encode(*values)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", counted)

    assert sign_in(name).status_code == 200
    assert len(calls) == 1


def test_passwords_of_before_go_on_working_and_are_not_hashed_anew():
    stored = PBKDF2PasswordHasher().encode(PASSWORD, "saltsaltsaltsaltsalt22")
    hashed_anew: list[str] = []

    assert check_password(PASSWORD, stored, setter=hashed_anew.append)
    assert not check_password("wrong", stored)
    assert hashed_anew == []
    assert make_password(PASSWORD).startswith("pbkdf2_sha256$")
    assert BoundedPBKDF2PasswordHasher.iterations == PBKDF2PasswordHasher.iterations


def test_a_few_iterations_are_still_raised_at_sign_in():
    user = User(password=PBKDF2PasswordHasher().encode(PASSWORD, "saltsaltsaltsaltsalt22", 1000))
    user.username = "admin"
    user.save()

    assert user.check_password(PASSWORD)
    assert User.objects.get().password.split("$")[1] == str(PBKDF2PasswordHasher.iterations)


def test_the_threads_that_hash_give_way():
    make_password(PASSWORD)
    niceness = password_hashing.threads.submit(
        lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    ).result()

    assert niceness == password_hashing.NICENESS
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < password_hashing.NICENESS


def test_the_password_of_a_link_is_hashed_outside_of_a_transaction(monkeypatch, rf):
    user = User.objects.create_user("new", password=None)
    link = urlsplit(link_for(user, rf.get("/"))).path
    client = new_client()
    in_transactions = []
    encode = BoundedPBKDF2PasswordHasher.encode

    def noted(*values):
        in_transactions.append(connection.in_atomic_block)
        return encode(*values)

    monkeypatch.setattr(BoundedPBKDF2PasswordHasher, "encode", noted)
    page = client.get(link)["Location"]
    form = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert client.post(page, form, format="multipart").status_code == 302

    assert in_transactions == [False]
    assert User.objects.get(username="new").check_password(PASSWORD)


def test_the_first_account_is_created_however_long_its_hash_takes(monkeypatch):
    monkeypatch.setattr(password_hashing, "HASH_SECONDS", 0.0)
    password = create_operator()
    monkeypatch.undo()
    assert password
    assert check_password(password, User.objects.get(username=OPERATOR).password)
