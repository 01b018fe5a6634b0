"""Signing in: password guessing is throttled for each pair of name and address."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

from devices.tests.fixtures import new_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LOGIN, PASSWORD = "/admin/login/", "correct horse battery"
OFFICE, ELSEWHERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture(autouse=True)
def operators(db):
    for name in ("admin", "second"):
        User.objects.create_superuser(name, password=PASSWORD)


def sign_in(password=PASSWORD, *, name="admin", address=OFFICE, **headers):
    return new_client().post(
        LOGIN, {"username": name, "password": password}, format="multipart", REMOTE_ADDR=address, **headers
    )


def guess(times=10, **who):
    return [sign_in(f"wrong-{n}", **who).status_code for n in range(times)]


def test_nine_wrong_passwords_are_forgiven_by_a_right_one():
    assert guess(9) == [200] * 9
    assert sign_in().status_code == 302
    assert guess(9) == [200] * 9


def test_after_the_tenth_even_the_right_password_has_to_wait():
    assert guess(11)[9:] == [429, 429]

    assert sign_in().status_code == 429


def test_who_is_locked_out_is_told_what_to_do():
    guess()
    response = sign_in(HTTP_ACCEPT="text/html")

    assert "15 minutes" in response.content.decode()
    assert "axes_reset_username" in response.content.decode()
    assert response["Retry-After"] == "900"


def test_nobody_is_locked_out_from_elsewhere_or_by_another_name():
    guess(20)

    assert sign_in(address=ELSEWHERE).status_code == 302
    assert sign_in(name="second").status_code == 302


def test_another_browser_is_no_other_address():
    for n in range(10):
        guess(1, HTTP_USER_AGENT=f"agent {n}")

    assert sign_in().status_code == 429


def test_it_ends_by_itself_after_a_quarter_of_an_hour_without_guesses_counted_meanwhile():
    guess(20)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))

    assert sign_in().status_code == 302


def test_an_operator_lifts_it():
    guess()
    call_command("axes_reset_username", "admin")

    assert sign_in().status_code == 302


def test_a_session_that_there_is_goes_on(client):
    signed_in = new_client()
    signed_in.post(LOGIN, {"username": "admin", "password": PASSWORD}, format="multipart", REMOTE_ADDR=OFFICE)
    guess()

    assert signed_in.get("/admin/").status_code == 200


def test_the_log_says_from_where_somebody_guesses_and_nothing_that_was_typed(caplog):
    guess(11, name="hunter2-typed-into-the-wrong-field")

    locks = [record.getMessage() for record in caplog.records if record.name.startswith("axes")]
    assert any("Locking out" in line for line in locks)
    assert all(OFFICE in line for line in locks)
    assert "hunter2" not in caplog.text
    assert "wrong-" not in caplog.text


def test_what_was_typed_as_a_password_is_kept_nowhere():
    guess(2)

    stored = " ".join(str(value) for row in AccessAttempt.objects.values_list() for value in row)
    assert "wrong-" not in stored
