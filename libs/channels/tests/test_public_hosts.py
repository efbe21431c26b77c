"""URLs that anybody may write: only public hosts, by name and by every address the name leads to."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.public_hosts import (
    ForbiddenUrl,
    Resolve,
    Target,
    Unresolved,
    is_public,
    public_address,
    target_of,
)

SOON = timedelta(seconds=1)
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "ff02::1",
    "168.63.129.16",
    "192.0.0.192",
    "192.88.99.1",
    "fec0::1",
    "::7f00:1",
    "::8.8.8.8",
    "::ffff:0:7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "5f00::1",
    "100::1",
    "4000::1",
]


def leading_to(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com/a?b=c", Target("hooks.example.com", 443, True)),
        ("https://HOOKS.Example.com:8443/", Target("hooks.example.com", 8443, True)),
        ("https://8.8.8.8/", Target("8.8.8.8", 443, True)),
        ("https://[2606:4700::1111]/x", Target("2606:4700::1111", 443, True)),
        ("https://xn--bcher-kva.example/", Target("xn--bcher-kva.example", 443, True)),
    ],
)
def test_https_of_a_public_host_passes(url: str, target: Target) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize(
    "host",
    [
        *(f"[{address}]" if ":" in address else address for address in PRIVATE),
        *("0x7f.1", "0x7f000001", "2130706433", "017700000001", "127.1", "127.0.1", "1.2.3", "0", "example.0x7f"),
        *(
            "localhost",
            "a.localhost",
            "printer.local",
            "localhost.localdomain",
            "files.private",
            "db.internal",
            "router.lan",
            "1.0.0.127.in-addr.arpa",
            "intranet",
        ),
        *(
            "localhost.",
            "hooks.example.com.",
            "hooks..example.com",
            "-a.example.com",
            "a b.example.com",
            "%31.example.com",
        ),
        *("[::1%25lo]", "[::ffff:7f00:1]", "hooks.example.com%2f@x", "user@hooks.example.com", "a:b@8.8.8.8", ""),
        *(
            "\uff11\uff12\uff17.0.0.1",
            "\u24dbocalhost",
            "hooks.example.com:0",
            "hooks.example.com:99999",
            "hooks.example.com:x",
        ),
    ],
)
def test_host_that_is_not_public_is_refused_in_every_notation(host: str) -> None:
    with pytest.raises(ForbiddenUrl):
        target_of(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "//hooks.example.com/",
        "https:hooks.example.com",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com/\r\nx: y",
        "https://hooks.example.com/" + "a" * 2048,
        "file:///etc/passwd",
        "gopher://8.8.8.8/",
    ],
)
def test_url_of_an_unusual_form_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenUrl):
        target_of(url)


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/"):
        try:
            assert target_of(url).tls
        except ForbiddenUrl:
            continue


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/hook", "https://localhost/", "http://[::1]:80/"])
def test_practice_lets_http_and_private_hosts_through(url: str) -> None:
    assert target_of(url, private=True).host


async def test_address_to_connect_to_is_one_that_was_checked() -> None:
    target = target_of("https://hooks.example.com/")

    assert await public_address(target, timeout=SOON, resolve=leading_to("8.8.8.8", "1.1.1.1")) == "8.8.8.8"


@pytest.mark.parametrize("private", PRIVATE)
async def test_one_address_that_is_not_public_condemns_the_name(private: str) -> None:
    target = target_of("https://hooks.example.com/")

    for addresses in ([private], ["8.8.8.8", private]):
        with pytest.raises(ForbiddenUrl):
            await public_address(target, timeout=SOON, resolve=leading_to(*addresses))
    assert not is_public(private)


async def test_name_that_leads_nowhere_or_takes_too_long_is_told_apart() -> None:
    async def failing(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    target = target_of("https://hooks.example.com/")
    for resolve in (leading_to(), failing):
        with pytest.raises(Unresolved):
            await public_address(target, timeout=SOON, resolve=resolve)  # type: ignore[arg-type]


async def test_address_as_host_is_checked_without_a_look_up() -> None:
    """The system's resolver takes addresses for themselves."""
    target = target_of("http://127.0.0.1:1/", private=True)

    assert await public_address(target, timeout=SOON, private=True) == "127.0.0.1"
    with pytest.raises(ForbiddenUrl):
        await public_address(target, timeout=SOON)
