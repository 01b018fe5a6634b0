"""Requests to the doors through Django's ordinary handler, which is quicker to test than the ingest lane."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from rest_framework.test import APIClient

from devices.models import Device
from readings.doors import skipped_values
from readings.doors.skipped_values import Lately
from readings.models import Reading


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test skipped is not remembered."""
    monkeypatch.setattr(skipped_values, "lately", Lately())


@pytest.fixture
def send(anyone: APIClient) -> Callable[..., Any]:
    """Sends a request through the ordinary handler: method, path, body, headers, parameters of the query."""

    def sent(
        method: str, path: str, body: Any = "", *, headers: Any = None, params: dict[str, str] | None = None
    ) -> Any:
        given = dict(headers or {})
        content_type = given.pop("Content-Type", "text/plain")
        query = f"?{urlencode(params)}" if params else ""
        return anyone.generic(method, path + query, body, content_type, headers=given)

    return sent


@pytest.fixture
def stored() -> Callable[..., list[dict[str, float]]]:
    """The values of the readings of a device, in their order."""

    def values(device_id: str = "mote-1") -> list[dict[str, float]]:
        readings = Reading.objects.filter(device_id=device_id).order_by("seq")
        return [
            {name: value for name in ("temperature", "humidity", "voltage") if (value := getattr(r, name)) is not None}
            | r.extra
            for r in readings
        ]

    return values


@pytest.fixture
def gateway_devices(db: None) -> list[Device]:
    return [Device.objects.register(device_id=name)[0] for name in ("d-1", "d-2")]
