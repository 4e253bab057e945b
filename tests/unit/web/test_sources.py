from __future__ import annotations

import pytest

from gateway.web.sources import network


@pytest.mark.parametrize(
    ("address", "known_as"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", ""),
        ("a:b", "a:b"),
    ],
)
def test_addresses_of_one_network_of_ipv6_are_one_source(address: str, known_as: str) -> None:
    assert network(address) == known_as
