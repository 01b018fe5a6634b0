"""Creates the tables, and a device for each `device_id key` line of a file."""

import hashlib
import sys

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    from benchmarks.contenders.obvious.models import Device

    with open(sys.argv[1]) as file:
        pairs = [line.split() for line in file]
    Device.objects.bulk_create(
        Device(device_id=name, api_key_hash=hashlib.sha256(key.encode()).hexdigest()) for name, key in pairs
    )
