"""Announcing changes of alarms: the messages on the channel layer, and what happens if it fails."""

import json

import pytest

from readings.alarms.models import Alarm
from readings.alarms.tests.rules import alarm_of, evaluate, make_rule
from readings.tests.logs import at, new, store
from realtime.announcing import alarms, receivers
from realtime.protocol.groups import ALARMS_GROUP
from realtime.tests.announcing.test_announcing import Layer

pytestmark = pytest.mark.django_db(transaction=True)


def use(monkeypatch, layer):
    monkeypatch.setattr(alarms, "get_channel_layer", lambda: layer)
    monkeypatch.setattr(receivers, "get_channel_layer", lambda: Layer())
    return layer


def judge(temperature=31.0, second=1.0):
    make_rule(metric="temperature", above=30) if second == 1 else None
    store([new(timestamp=at(second), temperature=temperature)])
    evaluate(at(second))


def test_a_change_has_one_message_with_the_alarm_encoded(device, monkeypatch):
    layer = use(monkeypatch, Layer())
    judge()
    ((group, message),) = layer.sent
    ((event, opened_at, pk, device_id, acknowledged_at, document),) = message["changes"]
    assert (group, event, device_id, acknowledged_at) == (ALARMS_GROUP, "opened", "mote-1", None)
    assert (str(Alarm.objects.get().pk), opened_at) == (pk, json.loads(document)["opened_at"])
    assert json.loads(document)["value"] == 31.0


def test_many_changes_have_messages_of_limited_size(device, monkeypatch):
    monkeypatch.setattr(alarms, "CHANGES_PER_MESSAGE", 2)
    layer = use(monkeypatch, Layer())
    for _ in range(4):
        make_rule(metric="temperature", above=30)
    judge()
    assert [len(message["changes"]) for _, message in layer.sent] == [2, 2, 1]


@pytest.mark.parametrize("layer", [Layer(raises=ConnectionError("no Redis")), Layer(hangs=True)], ids=["away", "hangs"])
def test_a_layer_that_is_away_delays_one_evaluation_and_loses_no_alarm(device, monkeypatch, caplog, layer):
    monkeypatch.setattr(alarms, "ANNOUNCE_SECONDS", 0.05)
    monkeypatch.setattr("realtime.announcing.breaker.RETRY_SECONDS", 60)
    use(monkeypatch, layer)
    for second in range(1, 7):
        judge(31.0 if second % 2 else 20.0, second)
    assert layer.tries == 1
    assert Alarm.objects.count() == 3
    (record,) = [record for record in caplog.records if record.name == "realtime.announcing.breaker"]
    assert "alarms are stored but not announced" in record.getMessage()


def test_nothing_is_announced_without_a_change(device, monkeypatch):
    layer = use(monkeypatch, Layer())
    alarm_of("mote-1")
    judge(20.0)
    assert layer.sent == []
