"""How much of a round's time sealing takes from what comes after it."""

import threading
from collections import Counter
from types import SimpleNamespace

import pytest

from readings.tests.logs import NOON
from readings.upkeep import maintenance
from readings.upkeep.maintenance import Maintainer, maintain
from readings.upkeep.sealing import marks

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_parts_of_sealing_share_the_time_of_one_part(device, monkeypatch):
    """New readings wait for their rollups meanwhile."""
    now = 0.0
    steps: Counter[str] = Counter()

    def endless(name):
        def begin(*_, **__):
            nonlocal now
            while True:
                now += 1
                steps[name] += 1
                yield 0

        return begin

    class Stop(threading.Event):
        def wait(self, timeout=None):
            return False

    monkeypatch.setattr(maintenance, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(marks, "end", endless("ids"))
    monkeypatch.setattr(maintenance, "seal", endless("readings"))
    monkeypatch.setattr(maintenance, "seal_rollups", endless("rollups"))
    maintainer = Maintainer()
    done = maintain(now=NOON, stop=Stop(), part_seconds=20, maintainer=maintainer, retention=False)
    assert done.unfinished
    assert maintainer.sealing_unfinished
    assert now <= 20 + 4  # and a step of each
    assert steps == {"ids": 6, "readings": 6, "rollups": 2 * 6}
