"""Where a sender is, as far as limits are concerned."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

NETWORK: Final = 64
"""Bits of an IPv6 address that tell senders apart: whoever has one address of such a network may have all."""


def network(address: str) -> str:
    """The address, or of IPv6 the network that it is in."""
    if ":" not in address:
        return address
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> (128 - NETWORK) << (128 - NETWORK)))
