import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from telemetry.configuration import checks
from telemetry.configuration.checks import check_configuration

pytestmark = pytest.mark.once

# Each check, and settings that it refuses.
REFUSED = [
    ("E001", {"SECRET_KEY": "s" * 31}),
    ("E002", {"API_SECRET_KEY": ""}),
    ("E002", {"API_SECRET_KEY": "k" * 15}),
    ("E003", {"DEVICE_API_KEYS": ["f" * 15]}),
    ("E003", {"DEVICE_API_KEYS": ["f" * 16, ""]}),
    ("E004", {"API_SECRET_KEY": "k" * 16, "DEVICE_API_KEYS": ["f" * 16, "k" * 16]}),
    ("E005", {"APP_ENV": "staging"}),
    ("E006", {"LOG_LEVEL": "LOUD"}),
    ("E007", {"LOG_FORMAT": "xml"}),
    ("E008", {"PORT": 0}),
    ("E008", {"PORT": 65_536}),
    ("E009", {"MAX_BODY_BYTES": 1023}),
    ("E009", {"MAX_BODY_BYTES": (1 << 30) + 1}),
    ("E029", {"CONNECTIONS_PER_ADDRESS": -1}),
    ("E010", {"DEFAULT_REPORT_INTERVAL": 0}),
    ("E010", {"DEFAULT_REPORT_INTERVAL": 31 * 86_400 + 1}),
    ("E017", {"RETENTION_DAYS": -1}),
    ("E017", {"RETENTION_DAYS": 36_501}),
    ("E057", {"RETENTION_GB": -0.5}),
    ("E058", {"SEAL_AFTER_DAYS": -1}),
    ("E058", {"SEAL_AFTER_DAYS": float("nan")}),
    ("E059", {"RETENTION_GB": 10, "SEAL_AFTER_DAYS": 0}),
    ("E040", {"DOORS": ["influx", "coap"]}),
    ("E041", {"DOORS": ["none", "influx"]}),
    ("E050", {"MQTT_PORT": 65_536}),
    ("E051", {"MQTT_TLS_PORT": -1}),
    ("E052", {"PORT": 1883, "MQTT_PORT": 1883}),
    ("E053", {"MQTT_TLS_PORT": 8883, "MQTT_TLS_CERT": ""}),
    ("E056", {"MQTT_METRICS_PORT": 65_536}),
    ("E060", {"DISTRIBUTED": True}),
    ("E054", {"MQTT_BROKER_URL": "broker:1883"}),
    ("E055", {"MQTT_BROKER_URL": "mqtt://broker", "MQTT_BROKER_TOPICS": ["a/{unit}"]}),
    *(("E016", {"DEVICE_RATE_LIMIT": rate}) for rate in ("10", "0/s", "10/second", "-1/s", "1.5/s", "10 / s")),
    ("E011", {"ALLOWED_ORIGINS": ["app.example.org"]}),
    ("E011", {"ALLOWED_ORIGINS": ["https://app.example.org/page"]}),
    ("E011", {"ALLOWED_ORIGINS": ["https://*.example.org"]}),
    ("E011", {"ALLOWED_ORIGINS": ["ftp://app.example.org"]}),
    ("E012", {"REDIS_URLS": ["localhost:6379"]}),
    ("E012", {"REDIS_URLS": ["redis://one:6379/0", ""]}),
    *(("E018", {"TRUSTED_PROXIES": [entry]}) for entry in ("proxy", "127.0.0.1:80", "10.0.0.0/33", "*", "::/0", "")),
    ("E019", {"HSTS_SECONDS": -1}),
    ("E030", {"DATABASE_URL_UNENCODED": "#"}),
    *(("E031", {"PUBLIC_URL": url}) for url in ("telemetry.example.org", "ftp://example.org", "https://")),
    *(("E032", {"EMAIL_FROM": sender}) for sender in ("telemetry", "Telemetry <telemetry>")),
    ("E027", {"QUESTIONS_PER_CALLER": 0}),
    ("E027", {"QUESTIONS_PER_CALLER": 11}),
    ("E020", {"METRIC_NAMES_PER_DEVICE": 0}),
    ("E013", {"IN_PRODUCTION": True, "LISTED_HOSTS": ["telemetry.example.org"], "DEBUG": True}),
    ("E014", {"IN_PRODUCTION": True, "LISTED_HOSTS": ["*"]}),
    ("E014", {"IN_PRODUCTION": True, "LISTED_HOSTS": []}),
    ("E015", {"LISTED_HOSTS": ["http://telemetry.example.org"]}),
    ("E015", {"LISTED_HOSTS": ["telemetry.example.org:8000"]}),
]
ACCEPTED = [
    {"SECRET_KEY": "s" * 32},
    {"API_SECRET_KEY": "k" * 16, "DEVICE_API_KEYS": ["f" * 16]},
    {"DEVICE_API_KEYS": []},
    {"PORT": 1},
    {"PORT": 65_535},
    {"MAX_BODY_BYTES": 1024},
    {"CONNECTIONS_PER_ADDRESS": 0},
    *({"DEVICE_RATE_LIMIT": rate} for rate in ("", "1/s", "600/m", "5000/h", "100000/d")),
    {"DEFAULT_REPORT_INTERVAL": 31 * 86_400},
    {"DOORS": ["none"]},
    {"DOORS": ["influx", "mqtt", "lorawan", "thingsboard", "influx-query-keys"]},
    {"ALLOWED_ORIGINS": ["https://app.example.org", "http://localhost:3000"]},
    {"REDIS_URLS": ["rediss://:password@redis.example.org:6380/1"]},
    {"REDIS_URLS": []},
    {"TRUSTED_PROXIES": ["127.0.0.1", "10.0.0.7/8", "2001:db8::/32", "unix"]},
    {"HSTS_SECONDS": 0},
    {"DEBUG": True, "LISTED_HOSTS": ["*"]},
    {"IN_PRODUCTION": True, "DEBUG": False, "LISTED_HOSTS": ["telemetry.example.org"]},
    {"LISTED_HOSTS": [".example.org", "192.0.2.7", "[2001:db8::7]"]},
]


def found(settings, changes):
    for name, value in changes.items():
        setattr(settings, name, value)
    return list(check_configuration(None))


def test_what_the_tests_run_with_is_accepted():
    assert check_configuration(None) == []


@pytest.mark.parametrize(("check", "changes"), REFUSED)
def test_what_is_unsafe_is_refused_with_what_to_do(settings, check, changes):
    (message,) = found(settings, changes)

    assert message.id == f"telemetry.{check}"
    assert message.is_serious()
    assert message.hint
    named = list(changes)[-1].replace("LISTED_HOSTS", "ALLOWED_HOSTS").replace("REDIS_URLS", "REDIS_URL")
    named = named.removesuffix("_UNENCODED")
    assert named in message.msg


@pytest.mark.parametrize("changes", ACCEPTED)
def test_what_is_safe_is_accepted(settings, changes):
    assert found(settings, changes) == []


def test_every_check_is_tried():
    numbered = set(re.findall(r"telemetry\.(E\d+)", Path(checks.__file__).read_text()))

    assert numbered == {check for check, _changes in REFUSED}


def test_every_fault_is_told_at_once(settings):
    messages = found(settings, {"SECRET_KEY": "", "API_SECRET_KEY": "", "PORT": 0})

    assert [message.id[-4:] for message in messages] == ["E001", "E002", "E008"]


def test_a_refusal_stops_the_start(settings):
    settings.API_SECRET_KEY = ""

    with pytest.raises(SystemCheckError, match=r"telemetry\.E002"):
        call_command("check")


def test_a_refusal_shows_no_secret(settings):
    messages = found(settings, {"SECRET_KEY": "secret", "API_SECRET_KEY": "secret", "DEVICE_API_KEYS": ["secret"]})

    assert len(messages) == 4
    assert "'secret'" not in str(messages)


PRODUCTION = {
    "APP_ENV": "production",
    "SECRET_KEY": "wZ4r9-secret-of-the-production-test_0123456789-abcdefghij",
    "API_SECRET_KEY": "admin-key-of-the-production-test",
    "ALLOWED_HOSTS": "telemetry.example.org",
    "TRUSTED_PROXIES": "127.0.0.1",
}


def deployment_check(**environment):
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **PRODUCTION, **environment},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.once
def test_django_s_own_check_of_a_deployment_finds_nothing_in_production():
    done = deployment_check()

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize(
    ("environment", "finding"),
    [
        ({"TRUSTED_PROXIES": ""}, "security.W008"),  # no known proxy ends TLS
        ({"HSTS_SECONDS": "0"}, "security.W004"),
        ({"SECRET_KEY": "s" * 50}, "security.W009"),
        ({"APP_ENV": "development"}, "security.W012"),
    ],
)
def test_and_says_so_where_it_finds_something(environment, finding):
    assert finding in deployment_check(**environment).stderr
