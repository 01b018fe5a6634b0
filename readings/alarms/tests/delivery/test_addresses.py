"""Which addresses may be connected to."""

import pytest

from readings.alarms.delivery.addresses import AddressRefused, check_address

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "::169.254.169.254"),
        *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"),
        *("168.63.129.16", "0.0.0.0", "::", "::ffff:0.0.0.0", "255.255.255.255", "224.0.0.1", "ff02::1", "240.0.0.1"),
        *("::ffff:0:169.254.169.254", "example.org", "0x7f.1", "2130706433", ""),
    ],
)
def test_link_local_metadata_and_disguised_addresses_are_always_refused(address):
    for private in (True, False):
        with pytest.raises(AddressRefused):
            check_address(address, private=private)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "::1", "10.0.0.7", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd12:3456::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.7", "64:ff9b::a00:7", "2002:7f00:1::"),
    ],
)
def test_private_networks_and_this_machine_are_a_setting(address):
    check_address(address, private=True)
    with pytest.raises(AddressRefused, match="ALLOW_PRIVATE_TARGETS"):
        check_address(address, private=False)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_public_addresses_are_allowed(address):
    check_address(address, private=False)
