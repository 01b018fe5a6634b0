"""`up` gives its demo device a new key at each start."""

import pytest
from django.utils import timezone

from devices.models import Device
from telemetry.management.commands.up import Command

pytestmark = pytest.mark.django_db


def test_each_start_has_a_key_and_the_last_start_keeps_its_own():
    first, second, third = (Command().prepare_demo() for _ in range(3))
    now = timezone.now()
    assert [Device.objects.for_key(key, now=now) is not None for key in (first, second, third)] == [False, True, True]
