"""Where a call comes from."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_gateway.networks import caller_address, lies_in, peer_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:f::/48")]
STRANGER = ip_address("198.51.100.7")


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("ipv6:[2001:db8::1]:5000", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::1"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:5000", "192.0.2.1"),
    ],
)
def test_peer_of_grpc_has_an_address(peer: str, address: str) -> None:
    assert peer_address(peer) == ip_address(address)


@pytest.mark.parametrize("peer", ["unix:/run/x.sock", "", "ipv4:", "ipv4:nonsense:1", "inproc:1", "ipv6:%5B%5D:1"])
def test_peer_without_an_address_comes_from_nowhere(peer: str) -> None:
    assert peer_address(peer) is None


addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address).filter(lambda address: address.ipv4_mapped is None),
)
strangers = addresses.filter(lambda address: not lies_in(address, PROXIES))
proxies = st.sampled_from([ip_address("10.1.2.3"), ip_address("2001:db8:f::9")])


@given(strangers, st.lists(st.text(max_size=60), max_size=4))
def test_header_of_a_stranger_says_nothing(peer: IPv4Address | IPv6Address, header: list[str]) -> None:
    assert caller_address(peer, header, PROXIES) == peer


@given(proxies, st.lists(st.text(max_size=30), max_size=3), strangers, st.lists(proxies, max_size=4))
def test_last_address_before_the_proxies_calls_whatever_stands_before_it(
    peer: IPv4Address | IPv6Address,
    forged: list[str],
    caller: IPv4Address | IPv6Address,
    hops: list[IPv4Address | IPv6Address],
) -> None:
    header = ", ".join([*forged, str(caller), *(str(hop) for hop in hops)])

    assert caller_address(peer, [header], PROXIES) == caller
    assert caller_address(peer, [*forged, str(caller), *(str(hop) for hop in hops)], PROXIES) == caller


@pytest.mark.parametrize(
    "header", ["unknown", "198.51.100.7, ", "198.51.100.7:80", "for=198.51.100.7", "198.51.100.256"]
)
def test_value_that_is_no_address_comes_from_nowhere(header: str) -> None:
    assert caller_address(ip_address("10.0.0.1"), [header], PROXIES) is None


def test_proxy_that_says_nothing_calls_itself() -> None:
    proxy = ip_address("10.0.0.1")

    assert caller_address(proxy, [], PROXIES) == proxy
    assert caller_address(proxy, ["10.0.0.2"], PROXIES) == ip_address("10.0.0.2")
    assert caller_address(None, ["198.51.100.7"], PROXIES) is None


def test_endless_header_is_read_from_its_end_alone() -> None:
    header = ",".join([str(STRANGER), *(["10.0.0.1"] * 100_000)])

    assert caller_address(ip_address("10.0.0.1"), [header], PROXIES) == ip_address("10.0.0.1")


def test_networks_of_the_other_family_hold_no_address() -> None:
    assert not lies_in(ip_address("0.0.0.1"), [ip_network("::/0")])
    assert lies_in(ip_address("0.0.0.1"), [ip_network("::/0"), ip_network("0.0.0.0/0")])
