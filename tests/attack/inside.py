"""Hosts that no URL of an app may lead to, in every notation that some parser or resolver understands."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

ADDRESSES = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # an address to be refused, not to be bound
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.1.1",
    "169.254.169.254",  # metadata of AWS, Google Cloud, Azure, Oracle
    "169.254.170.2",  # credentials of tasks at AWS
    "100.100.100.200",  # metadata at Alibaba
    "192.0.0.192",  # metadata at Oracle, of old
    "168.63.129.16",  # Azure's host, public by its number
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
)
ADDRESSES_V6 = (
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "::ffff:7f00:1",
    "fe80::1",
    "fe80::1%25lo",
    "fc00::1",
    "fd00:ec2::254",  # metadata of AWS
    "fd20:ce::254",  # metadata of Google Cloud
    "fec0::1",
    "ff02::1",
    "ff05::2",
    "100::1",
    "2001:db8::1",
    "2001:2::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo
    "5f00::1",
)
NAMES = (
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "printer.local",
    "db.internal",
    "metadata.google.internal",
    "kubernetes.default.svc.cluster.local",
    "postgres",
    "router.lan",
    "nas.home",
    "files.corp",
    "files.private",
    "wiki.intranet",
    "1.0.0.127.in-addr.arpa",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "loc\u200balhost",
    "local\u00adhost",
    "xn--localhost",
)
LEADING_INSIDE: Mapping[str, str] = {
    "127.0.0.1.nip.io": "127.0.0.1",
    "169-254-169-254.sslip.io": "169.254.169.254",
    "localtest.me": "127.0.0.1",
    "vcap.me": "::1",
    "inside.example.com": "10.1.2.3",
    "mapped.example.com": "::ffff:127.0.0.1",
    "nat64.example.com": "64:ff9b::7f00:1",
    "tunnel.example.com": "2002:7f00:1::1",
    "site.example.com": "fec0::7",
    "azure.example.com": "168.63.129.16",
}
"""Public names by the address that whoever owns them lets them lead to."""
_FULL_WIDTH = str.maketrans("0123456789.", "".join(chr(0xFF10 + digit) for digit in range(10)) + "\uff0e")
_CIRCLED = str.maketrans("123456789", "".join(chr(0x2460 + digit) for digit in range(9)))


def hosts() -> list[str]:
    """Every spelling, as it stands in a URL; all different."""
    found = [spelling for address in ADDRESSES for spelling in _spellings(address)]
    return list(dict.fromkeys([*found, *(f"[{address}]" for address in ADDRESSES_V6), *NAMES]))


def urls() -> list[str]:
    """Each host in an https URL, and tricks with the rest of it; all different."""
    return list(dict.fromkeys([*(f"https://{host}/hook" for host in hosts()), *_tricks()]))


def _spellings(address: str) -> Iterator[str]:
    ip = IPv4Address(address)
    a, b, c, d = ip.packed
    number, high, low = int(ip), int(ip) >> 16, int(ip) & 0xFFFF
    yield address
    yield f"{address}."
    yield str(number)
    yield str(number + (1 << 32))
    yield f"0x{number:08x}"
    yield f"0X{number:X}"
    yield f"0{number:o}"
    yield f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"
    yield f"0{a:o}.0{b:o}.0{c:o}.0{d:o}"
    yield f"0000{a:o}.{b}.{c}.{d}"
    yield f"{a:03}.{b:03}.{c:03}.{d:03}"
    yield f"{a}.{b}.{low}"
    yield f"{a}.{(b << 16) + low}"
    yield f"0x{a:x}.{(b << 16) + low}"
    yield address.translate(_FULL_WIDTH)
    yield address.translate(_CIRCLED)
    yield address.replace(".", "\u3002")
    yield address.replace(".", "%2e")
    yield "".join(f"%{ord(character):02x}" for character in address)
    yield f"[::ffff:{address}]"
    yield f"[::ffff:{high:x}:{low:x}]"
    yield f"[0:0:0:0:0:ffff:{high:x}:{low:x}]"
    yield f"[::{address}]"
    yield f"[::ffff:0:{high:x}:{low:x}]"
    yield f"[64:ff9b::{address}]"
    yield f"[64:ff9b:1::{high:x}:{low:x}]"
    yield f"[2002:{high:x}:{low:x}::1]"
    yield f"hooks.example.com@{address}"
    yield f"hooks.example.com:443@{address}"


def _tricks() -> Iterator[str]:
    for scheme in ("http", "HTTP", "ftp", "file", "gopher", "ws", "ldap", "dict", "jar:https", "data", "javascript"):
        yield f"{scheme}://hooks.example.com/hook"
    yield from (
        "//hooks.example.com/hook",
        "https:hooks.example.com",
        "https:/hooks.example.com",
        "https:///hook",
        "https://",
    )
    yield from ("", " ", "hooks.example.com", "/etc/passwd", "file:///etc/passwd", "https://?x", "https://#x")
    for port in ("0", "-1", "65536", "99999", "x", "443x", "\u0664\u0664\u0663"):
        yield f"https://hooks.example.com:{port}/hook"
    for character in ("\r\n", "\n", "\t", "\x00", "\x7f", " ", "\u2028", "\u00a0"):
        yield f"https://hooks.example.com/{character}Host: 127.0.0.1"
        yield f"https://hooks.example{character}.com/hook"
    yield "https://hooks.example.com\\@127.0.0.1/hook"
    yield "https://127.0.0.1\\@hooks.example.com/hook"
    yield "https://127.0.0.1#@hooks.example.com/hook"
    yield "https://127.0.0.1?@hooks.example.com/hook"
    yield "https://hooks.example.com#@127.0.0.1/hook"
    yield "https://hooks.example.com/hook#part"
    yield "https://[::1/hook"
    yield "https://::1/hook"
    yield "https://[127.0.0.1]/hook"
    yield "https://[v1.127]/hook"
    yield "https://hooks..example.com/hook"
    yield "https://.example.com/hook"
    yield "https://-a.example.com/hook"
    yield "https://" + "a" * 64 + ".example.com/hook"
    yield "https://" + "a." * 130 + "example.com/hook"
    yield "https://hooks.example.com/" + "a" * 2_048
