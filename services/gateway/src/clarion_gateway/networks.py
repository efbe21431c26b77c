"""Where a call comes from: the peer's address, or what a trusted proxy says of it."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import unquote

FORWARDED_FOR = "x-forwarded-for"
MAX_HOPS = 16
"""Entries of X-Forwarded-For that are looked at, from its end."""

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


def peer_address(peer: str) -> Address | None:
    """The address in what gRPC calls a peer: "ipv4:192.0.2.1:5000", "ipv6:%5B2001:db8::1%5D:5000"; None of others."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return _address(rest.rpartition(":")[0].strip("[]"))


def caller_address(peer: Address | None, forwarded_for: Sequence[str], proxies: Iterable[Network]) -> Address | None:
    """Who calls: the peer, or, if that is a trusted proxy, the last address of X-Forwarded-For that is none.

    Each proxy appends whom it was called by, so all before that address is hearsay. A value that is no address ends the
    search: None, from nowhere. Without a trusted proxy the header says nothing.
    """
    trusted = tuple(proxies)
    if peer is None or not lies_in(peer, trusted):
        return peer
    hops = ",".join(forwarded_for).split(",")[-MAX_HOPS:] if forwarded_for else []
    found: Address | None = peer
    for hop in reversed(hops):
        found = _address(hop.strip())
        if found is None or not lies_in(found, trusted):
            return found
    return found


def lies_in(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address.version == network.version and address in network for network in networks)


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
