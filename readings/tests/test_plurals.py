"""Counts of one in what commands write, and in messages about limits."""

from io import StringIO

import pytest
from django.core.management import call_command

from devices.models import Device
from devices.plurals import counted
from devices.tests.fixtures import staff_client
from readings.log import metric_names
from readings.simulator.comparison import Verdict
from readings.simulator.fleet import Tally
from readings.tests.logs import at, make_devices, new, store
from readings.upkeep.maintenance import Round

NUMBERS = pytest.mark.parametrize(
    ("number", "words"), [(0, "0 readings"), (1, "1 reading"), (2, "2 readings"), (1001, "1,001 readings")]
)


@pytest.mark.once
@NUMBERS
def test_only_one_is_singular(number, words):
    assert counted(number, "reading", "readings") == words
    assert str(Round(rolled_up=number)).startswith(f"{words} rolled up, ")
    assert str(Tally(stored=number)).startswith(f"{words} stored (")


@pytest.mark.once
def test_what_is_added_up_is_singular_too():
    assert ", 1 device failed, in" in str(Round(failed=1))
    assert ", 2 devices failed, in" in str(Round(failed=2))
    assert "1 attempt repeated, 1 in buffers, 1 device cut off" in str(Tally(failed=1, buffered=1, cut_off=1))
    assert str(Verdict(holes=1)).endswith("1 log with holes")
    assert str(Verdict(holes=3)).endswith("3 logs with holes")


@pytest.mark.once
def test_a_limit_of_one_is_singular(settings):
    settings.METRIC_NAMES_PER_DEVICE = 1
    assert "more than 1 metric in addition" in metric_names.refusal().detail


def written(name, *arguments):
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("count", "readings", "waiting"),
    [
        (1, "1 reading", "1 reading is not in a rollup yet and is kept until it is."),
        (2, "2 readings", "2 readings are not in a rollup yet and are kept until they are."),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_what_commands_write(device, count, readings, waiting):
    store([new(timestamp=at(n)) for n in range(count)])
    assert waiting in written("maintain", "--dry-run")
    assert f"{readings} rolled up" in written("maintain", "--once")
    assert f"Would erase {readings}, 1 rollup and 0 kinds of" in written("erase_device", "mote-1", "--dry-run")
    assert f"Erased {readings} of mote-1" in written("erase_device", "mote-1", "--yes")


@pytest.mark.parametrize(("count", "title"), [(1, "the key of 1 device"), (2, "the keys of 2 devices")])
@pytest.mark.django_db
def test_rotating_in_the_console(count, title):
    make_devices(count)
    operator = staff_client("operator", "devices.change_device", "devices.view_device")
    chosen = {"action": "rotate", "_selected_action": [str(device.pk) for device in Device.objects.all()]}
    page = operator.post("/admin/devices/device/", chosen, format="multipart").content.decode()
    assert f"Rotate {title}" in page
    assert ("This device gets a new key" if count == 1 else "Each of these devices gets a new key") in page
