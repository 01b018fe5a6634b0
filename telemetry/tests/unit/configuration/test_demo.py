"""The thread of `up` that simulates the demo device."""

import pytest

from readings.simulator.fleet import SimulationError
from telemetry.management.commands import up


@pytest.fixture
def runs(monkeypatch):
    """The exceptions that successive runs of the simulator raise."""
    outcomes: list[Exception] = []

    async def simulate(*_, **__):
        raise outcomes.pop(0)

    monkeypatch.setattr(up, "simulate", simulate)
    monkeypatch.setattr(up, "DEMO_RETRY_SECONDS", 0.0)
    return outcomes


def test_it_outlives_any_exception(runs, caplog):
    runs += [OSError("Too many open files"), OSError("Too many open files"), SimulationError("demo: 401")]
    up.run_demo("key")
    assert runs == []
    assert caplog.text.count("OSError: Too many open files") == 1


def test_it_ends_when_the_server_refuses_the_device(runs, caplog):
    runs += [SimulationError("demo: 401"), OSError()]
    up.run_demo("key")
    assert len(runs) == 1
    assert "The demo device stopped: demo: 401" in caplog.text
