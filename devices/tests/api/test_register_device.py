"""`manage.py register_device`: registering a device on the command line."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from devices.models import Device
from devices.tests.fixtures import client_with

pytestmark = pytest.mark.django_db


def register(*arguments):
    """The standard output and standard error of the command."""
    out, err = StringIO(), StringIO()
    call_command("register_device", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_standard_output_is_the_key_and_nothing_else():
    out, err = register("mote-1")
    assert out.endswith("\n")
    assert client_with(out.strip()).post("/api/v1/ingest", {"temperature": 1}).status_code == 201
    assert "mote-1" in err
    assert out.strip() not in err


def test_it_takes_a_name_and_an_interval():
    register("aa:bb:cc:dd:ee:ff", "--name", "Dach süd", "--report-interval", "30")
    device = Device.objects.get()
    assert (device.device_id, device.name, device.report_interval) == ("aa:bb:cc:dd:ee:ff", "Dach süd", 30)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["mote 1"], "device_id"),
        (["m" * 65], "device_id"),
        (["mote\x00"], "device_id"),
        (["mote-1", "--name", "n" * 256], "name"),
        (["mote-1", "--name", "n\x00"], "name"),
        (["mote-1", "--report-interval", "0"], "report_interval"),
        (["mote-1", "--report-interval", "2678401"], "report_interval"),
        (["mote-1", "--report-interval", "soon"], "report-interval"),
    ],
)
def test_what_it_cannot_take_is_named_and_nothing_registered(arguments, named):
    with pytest.raises(CommandError, match=named):
        register(*arguments)
    assert not Device.objects.exists()


def test_a_device_there_is_keeps_its_key(mote):
    with pytest.raises(CommandError, match="mote-1 already exists"):
        register("mote-1")
    assert client_with(mote[1]).post("/api/v1/ingest", {"temperature": 1}).status_code == 201
