"""Environment variables: all are documented in `.env.example`, and become settings."""

import re
import runpy
from itertools import pairwise
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from telemetry.configuration.environment import local_names

pytestmark = pytest.mark.once

SETTINGS = Path(django_settings.BASE_DIR, "telemetry", "settings.py")
EXAMPLE = Path(django_settings.BASE_DIR, ".env.example")

READ = set(re.findall(r'\benv(?:\.\w+)?\(\s*"(\w+)"', SETTINGS.read_text()))
DOCUMENTED = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
SECRETS = {"SECRET_KEY", "API_SECRET_KEY", "DEVICE_API_KEYS"}


def test_every_setting_is_documented():
    assert READ, "no settings found: has their form changed?"
    assert DOCUMENTED.keys() >= READ


def test_nothing_is_documented_that_there_is_not():
    assert DOCUMENTED.keys() <= READ


def test_every_setting_is_explained():
    lines = EXAMPLE.read_text().splitlines()
    unexplained = [
        line for before, line in pairwise(lines) if re.match(r"\w+=", line) and not re.match(r"# (?!---)|\w+=", before)
    ]

    assert unexplained == []


def test_the_example_holds_no_secret():
    assert [DOCUMENTED[name] for name in SECRETS] == [""] * len(SECRETS)


@pytest.fixture
def load(monkeypatch):
    """The settings for an environment; names that it does not contain are empty."""

    def run(**environment):
        for name in READ:
            monkeypatch.setenv(name, environment.get(name, ""))
        loaded = runpy.run_path(str(SETTINGS))
        return {name: loaded[name] for name in loaded if name.isupper()}

    return run


def test_the_example_says_what_is_the_default_anyway(load):
    example, default = load(**DOCUMENTED), load()

    for name in (READ - {"DATABASE_URL", "EMAIL_URL"}) | {"DATABASES", "EMAIL_URL_SET", "EMAIL_BACKEND"}:
        assert example[name] == default[name], name


def test_secrets_have_no_default(load):
    loaded = load()

    assert (loaded["SECRET_KEY"], loaded["API_SECRET_KEY"], loaded["DEVICE_API_KEYS"]) == ("", "", [])


def test_a_mail_server_is_one_address(load):
    loaded = load(EMAIL_URL="smtp+tls://ada:p%40ss@mail.example.org", EMAIL_FROM="Telemetry <telemetry@example.org>")

    assert (loaded["EMAIL_URL_SET"], loaded["EMAIL_HOST"], loaded["EMAIL_PORT"]) == (True, "mail.example.org", 587)
    assert (loaded["EMAIL_HOST_USER"], loaded["EMAIL_HOST_PASSWORD"]) == ("ada", "p@ss")
    assert (loaded["EMAIL_USE_TLS"], loaded["EMAIL_USE_SSL"]) == (True, False)
    assert loaded["DEFAULT_FROM_EMAIL"] == "Telemetry <telemetry@example.org>"
    assert load(EMAIL_URL="smtp+ssl://mail.example.org")["EMAIL_PORT"] == 465
    assert "EMAIL_URL" not in loaded


@pytest.mark.parametrize("url", ["mail.example.org", "pigeon://ada:secret@coop", "smtp://", "smtp://ada:secret@h:x"])
def test_a_mail_server_that_is_none_stops_the_start_without_showing_its_password(load, url):
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL cannot be read") as caught:
        load(EMAIL_URL=url)
    assert "secret" not in str(caught.value)


def test_debug_is_off_unless_asked_for(load):
    assert load()["DEBUG"] is False
    assert load(DEBUG="true")["DEBUG"] is True


def test_keys_and_origins_may_have_spaces_and_slashes(load):
    loaded = load(DEVICE_API_KEYS="one-key, another-key", ALLOWED_ORIGINS="https://app.example.org/")

    assert loaded["DEVICE_API_KEYS"] == ["one-key", "another-key"]
    assert loaded["ALLOWED_ORIGINS"] == ["https://app.example.org"]


def test_a_level_and_a_format_may_be_in_any_case(load):
    loaded = load(LOG_LEVEL="debug", LOG_FORMAT="JSON")

    assert (loaded["LOG_LEVEL"], loaded["LOG_FORMAT"]) == ("DEBUG", "json")


def test_in_production_cookies_go_over_https_alone(load):
    for environment, secure in (("production", True), ("development", False)):
        loaded = load(APP_ENV=environment)
        assert loaded["SESSION_COOKIE_SECURE"] is loaded["CSRF_COOKIE_SECURE"] is secure


@pytest.mark.parametrize("name", ["PORT", "MAX_BODY_BYTES", "DEFAULT_REPORT_INTERVAL"])
def test_a_number_that_is_none_is_refused_by_its_name(load, name):
    with pytest.raises(ImproperlyConfigured, match=name):
        load(**{name: "many"})


def test_a_server_on_every_address_answers_to_this_machine_s_names():
    assert local_names("127.0.0.1") == ["localhost", "127.0.0.1", "[::1]"]
    assert len(local_names("0.0.0.0")) > 3
    assert "192.168.1.5" in local_names("192.168.1.5")
    assert "*" not in local_names("0.0.0.0")


def test_redis_makes_the_channel_layer(load):
    assert "InMemory" in load()["CHANNEL_LAYERS"]["default"]["BACKEND"]
    assert (
        load(REDIS_URL="redis://localhost")["CHANNEL_LAYERS"]["default"]["BACKEND"]
        == "realtime.announcing.redis_layer.ChannelLayer"
    )
