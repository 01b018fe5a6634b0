"""What `manage.py up` prints at its start."""

import io

import pytest

from telemetry.management.commands import up

pytestmark = pytest.mark.once


def summary(settings, monkeypatch, *, container):
    settings.HOST, settings.PORT = "0.0.0.0", 8000
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "3f2a9c", "172.17.0.2"]
    monkeypatch.setattr(up, "in_container", lambda: container)
    out = io.StringIO()
    up.Command(stdout=out).print_summary(None, None)
    return out.getvalue()


def test_in_a_container_it_names_no_address_that_others_could_use(settings, monkeypatch):
    text = summary(settings, monkeypatch, container=True)
    assert "172.17.0.2" not in text
    assert "3f2a9c" not in text
    assert ".venv" not in text
    assert "docker exec -it CONTAINER python manage.py changepassword" in text
    assert "These are addresses inside the container." in text


def test_elsewhere_it_names_the_addresses_for_devices(settings, monkeypatch):
    text = summary(settings, monkeypatch, container=False)
    assert "http://172.17.0.2:8000/api/v1/ingest" in text
    assert ".venv/bin/python manage.py changepassword" in text
    assert "container" not in text
