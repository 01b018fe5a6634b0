"""`/live/`: who may see it, its content, its number of queries; and the sparklines."""

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import staff_client
from readings.statistics.tiers import HOURS
from readings.tests.logs import at, make_devices, new, store
from readings.upkeep.rollups import roll_up
from realtime.protocol.frames import moment

PAGE = "/live/"
LINES = "/live/-/sparklines"


@pytest.fixture
def viewer(db):
    return staff_client("viewer", "readings.view_reading")


def carried(client):
    """The rows in the page's JSON, by device id."""
    html = client.get(PAGE).content.decode()
    fleet = json.loads(re.search(r'<script id="fleet" type="application/json">(.*?)</script>', html)[1])  # type: ignore[index]
    return {device_id: rest for device_id, *rest in fleet["devices"]}


@pytest.mark.django_db
def test_without_devices_it_has_one_button(db):
    operator = staff_client("operator", "readings.view_reading", "devices.add_device")
    page = operator.get(PAGE).content.decode()
    assert re.findall(r'<a class="action[^>]*href="([^"]+)"', page) == ["/admin/devices/device/add/"]


@pytest.mark.django_db
def test_it_carries_every_device_with_what_is_shown_of_it(viewer, device, other_device):
    Device.objects.filter(device_id="mote-2").update(is_active=False)
    now = timezone.now()
    store([new(temperature=21.5, humidity=None, extra={"rssi": -61}, timestamp=at(0.25))], received_at=now)
    found = carried(viewer)
    values, times = {"temperature": 21.5, "rssi": -61}, [moment(at(0.25)), 1]
    assert found["mote-1"] == ["North window", True, "online", moment(now), values, *times]
    assert found["mote-2"] == ["", False, "never", None, {}, None, None]


@pytest.mark.django_db
def test_it_carries_the_latest_values_of_metrics_that_the_newest_reading_lacks(viewer, device):
    store([new(extra={"battery": 80}, timestamp=at(0)), new(temperature=21.5, timestamp=at(1))])
    assert carried(viewer)["mote-1"][4:] == [{"temperature": 21.5}, moment(at(1)), 2, {"battery": 80}]


@pytest.mark.django_db
def test_a_history_imported_newest_first_leaves_its_newest_value_and_a_device_that_was_never_seen(viewer, device):
    for hours in range(30):
        store([new(timestamp=at(-3600 * hours), temperature=float(hours))], received_at=None)
    assert carried(viewer)["mote-1"][2:] == ["never", None, {"temperature": 0.0}, moment(at(0)), 1]


@pytest.mark.django_db
def test_what_a_device_is_called_cannot_end_the_script(viewer):
    Device.objects.register(device_id="sly", name="</script><script>alert(1)</script>")
    assert carried(viewer)["sly"][0] == "</script><script>alert(1)</script>"


@pytest.mark.django_db
def test_it_costs_the_same_queries_however_many_devices_there_are(viewer, device):
    store([new()])

    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert viewer.get(PAGE).status_code == 200
        return len(captured)

    few = queries()
    store([new(device_id) for device_id in make_devices(60)])
    assert queries() == few <= 7


@pytest.mark.django_db(transaction=True)
class TestSparklines:
    def lines(self, client, **query):
        return json.loads(client.get(LINES, {"metric": "temperature", **query}).content)

    def test_they_are_hourly_averages_of_the_last_day_with_gaps(self, viewer, device, other_device):
        hour = timezone.now().replace(minute=0, second=0, microsecond=0)
        moments = {hour - timedelta(hours=24): 10.0, hour - timedelta(hours=2, minutes=-5): 20.0, hour: 30.0}
        store(new(timestamp=at, temperature=value) for at, value in moments.items())
        store([new(timestamp=hour - timedelta(hours=2), temperature=22.0), new(timestamp=hour - timedelta(hours=25))])
        roll_up(HOURS)
        found = self.lines(viewer, devices="mote-1,mote-2")
        assert found["start"] == (hour - timedelta(hours=24)).timestamp()
        line = found["values"]["mote-1"]
        assert len(line) == 25
        assert {n: value for n, value in enumerate(line) if value is not None} == {0: 10.0, 22: 21.0, 24: 30.0}
        assert "mote-2" not in found["values"]

    def test_of_many_devices_they_are_one_query(self, viewer):
        devices = make_devices(50)
        store([new(device_id, timestamp=timezone.now()) for device_id in devices])
        roll_up(HOURS)
        with CaptureQueriesContext(connection) as captured:
            found = self.lines(viewer, devices=",".join(devices))
        assert len(found["values"]) == 50
        assert len([q for q in captured.captured_queries if "readings_rollup" in q["sql"]]) == 1
        assert len(captured) <= 6

    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"metric": "temperature"},
            {"metric": "Temperature!", "devices": "mote-1"},
            {"metric": "temperature", "devices": "mote 1"},
            {"metric": "temperature", "devices": "a\x00"},
            {"metric": "temperature", "devices": ",".join(["m"] * 201)},
        ],
    )
    def test_a_question_that_is_none_is_refused(self, viewer, query):
        assert viewer.get(LINES, query).status_code == 400
