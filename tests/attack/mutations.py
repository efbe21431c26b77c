"""Tokens that no door may take: a good one damaged in every way, forged ones, and such as the mesh's own key would sign in
error. Each with the kind of its damage; all from one seed."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from random import Random

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .forging import Mint

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Of base64url (RFC 4648 section 5)."""
_LOOK_ALIKES = str.maketrans(
    {
        "a": "\N{CYRILLIC SMALL LETTER A}",
        "e": "\N{CYRILLIC SMALL LETTER IE}",
        "o": "\N{CYRILLIC SMALL LETTER O}",
        "c": "\N{GREEK LUNATE SIGMA SYMBOL}",
        "A": "\N{GREEK CAPITAL LETTER ALPHA}",
        "B": "\N{GREEK CAPITAL LETTER BETA}",
        "E": "\N{GREEK CAPITAL LETTER EPSILON}",
        "I": "\N{GREEK CAPITAL LETTER IOTA}",
        ".": "\N{ONE DOT LEADER}",
    }
)
_INVISIBLE = "\u200b\u200d\ufeff\u00ad"
"""Cyrillic and Greek letters that look like Latin ones, and a one-dot leader."""
_HUGE_CHARACTERS = 7_000
"""Within what gRPC takes as metadata."""

Mutation = tuple[str, str]


def mutations(good: str, another: str, mint: Mint, random: Random) -> Iterator[Mutation]:
    """Without end: first each special one once, then damage of every kind in turn. `another`: a good token of another app."""
    yield from _forged(good, mint)
    yield from _misplaced(good, another, mint)
    yield from _mistaken(mint)
    while True:
        for kind, damage in _DAMAGE.items():
            text = damage(good, another, mint, random)
            if text != good:
                yield kind, text


def look_alikes(good: str, random: Random) -> Iterator[Mutation]:
    """With characters that no header carries; for the door itself. Without end."""
    while True:
        at = random.randrange(len(good))
        changed = good[at].translate(_LOOK_ALIKES)
        if changed != good[at]:
            yield "look-alike", f"{good[:at]}{changed}{good[at + 1 :]}"
        wide = chr(ord(good[at]) + 0xFEE0)
        yield "full width", f"{good[:at]}{wide}{good[at + 1 :]}"
        yield "invisible", f"{good[:at]}{random.choice(_INVISIBLE)}{good[at:]}"


def encoded(value: object) -> str:
    """A part of a token."""
    return _base64(json.dumps(value).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# ---------------------------------------------------------------- special ones


def _forged(good: str, mint: Mint) -> Iterator[Mutation]:
    """Other algorithms, other keys, other ways to name them (RFC 8725 section 2)."""
    body, signature = good.split(".")[1:]
    kid = mint.keys.active
    for name in ("none", "None", "NONE", "nOnE", "", None, 0, ["EdDSA"], "EdDSA ", "eddsa", "Ed25519"):
        for tail in ("", signature, _base64(b"\0" * 64)):
            yield "algorithm none", f"{encoded({'alg': name, 'typ': 'JWT', 'kid': kid})}.{body}.{tail}"
    public = mint.keys.public[kid]
    for secret in _as_secrets(public):
        for name, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
            signed = f"{encoded({'alg': name, 'typ': 'JWT', 'kid': kid})}.{encoded(mint.claims())}"
            yield "public key as a secret", f"{signed}.{_base64(hmac.digest(secret, signed.encode(), digest))}"
    stranger = mint.stranger()
    yield "stranger's key", stranger.signed()
    yield "stranger's key", stranger.signed({"kid": "t2"})
    own = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _base64(own.public_key().public_bytes_raw())}
    for header in (
        {"jwk": jwk},
        {"jwk": jwk, "kid": None},
        {"jku": "https://127.0.0.1:9/keys"},
        {"x5u": "https://127.0.0.1:9/chain"},
        {"x5c": ["MIIB"]},
        {"crit": ["b64"], "b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ):
        signed = f"{encoded({'alg': 'EdDSA', 'typ': 'JWT', 'kid': kid, **header})}.{encoded(mint.claims())}"
        yield "key brought along", f"{signed}.{_base64(own.sign(signed.encode()))}"
    for name, key in (
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("RS256", rsa.generate_private_key(65537, 2048)),
    ):
        yield "another algorithm", jwt.encode(mint.claims(), key, algorithm=name, headers={"kid": kid})
    for strange in _KEY_IDS:
        signed = f"{encoded({'alg': 'EdDSA', 'typ': 'JWT', 'kid': strange})}.{encoded(mint.claims())}"
        yield "key id", f"{signed}.{_base64(mint.keys.private.sign(signed.encode()))}"
    signed = f"{encoded({'alg': 'EdDSA', 'typ': 'JWT'})}.{encoded(mint.claims())}"
    yield "key id", f"{signed}.{_base64(mint.keys.private.sign(signed.encode()))}"


_KEY_IDS: tuple[object, ...] = (
    "",
    "t9",
    "T1",
    "t1 ",
    " t1",
    "t1\0",
    "../t1",
    "../../../../dev/null",
    "/proc/self/environ",
    "file:///dev/null",
    "t1' OR '1'='1",
    "t1; SELECT 1",
    "$(true)",
    "https://127.0.0.1:9/t1",
    None,
    0,
    1,
    True,
    [],
    ["t1"],
    {},
    {"t1": "t1"},
    "k" * 4_000,
)


def _as_secrets(public: Ed25519PublicKey) -> Iterator[bytes]:
    """The forms in which a public key is known to everyone."""
    raw = public.public_bytes_raw()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield from (raw, raw.hex().encode(), _base64(raw).encode(), base64.b64encode(raw), pem, pem.strip(), b"")
    yield public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    yield public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    yield hashlib.sha256(raw).digest()


def _misplaced(good: str, another: str, mint: Mint) -> Iterator[Mutation]:
    """Parts swapped, doubled, left out, and put together from two tokens."""
    header, body, signature = good.split(".")
    others = another.split(".")
    for text in (
        "",
        ".",
        "..",
        "...",
        "....",
        header,
        body,
        signature,
        f"{header}.",
        f"{header}..",
        f"{header}.{body}",
        f"{header}.{body}.",
        f".{body}.{signature}",
        f"{header}..{signature}",
        f"{body}.{header}.{signature}",
        f"{header}.{signature}.{body}",
        f"{signature}.{body}.{header}",
        f"{header}.{header}.{signature}",
        f"{body}.{body}.{signature}",
        f"{header}.{body}.{signature}.{signature}",
        f"{header}.{body}.{signature}.",
        f".{header}.{body}.{signature}",
        f"{header}.{header}.{body}.{signature}",
        f"{header}.{body}.{body}.{signature}",
        f"{header}.{body}.{signature}{signature}",
        f"{header}{body}{signature}",
        f"{header}.{others[1]}.{signature}",
        f"{header}.{body}.{others[2]}",
        f"{others[0]}.{others[1]}.{signature}",
        f"{good}{another}",
        f"{good},{another}",
        f"{good},Bearer {another}",
        f"Bearer {good}",
        f"'{good}'",
        f'"{good}"',
        f"{good};",
        f"{good}=",
        f"{good}==",
        f"{header}=.{body}=.{signature}",
        good.upper(),
        good.lower(),
        good.swapcase(),
        good[::-1],
        encoded({"token": good}),
        json.dumps({"payload": body, "protected": header, "signature": signature}),
        "null",
        "undefined",
        "[object Object]",
        "x" * 20,
        "." * 500,
        "a." * 2_000,
        "A" * _HUGE_CHARACTERS,
    ):
        yield "misplaced", text
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    for changed in (
        {"app": mint.app_id + 1},
        {"app": 0},
        {"scope": "admin"},
        {"sub": "ck_00000000000000000000"},
        {"exp": 4_102_444_800},
        {"ver": 99},
        {"aud": "*"},
    ):
        yield "claims changed", f"{header}.{encoded({**claims, **changed})}.{signature}"
    deep = "[" * 1_500 + "]" * 1_500
    for raw in (b"{", b"[]", b"1", b'""', b"null", b"\xff\xfe", deep.encode(), b'{"exp":1e400}'):
        for text in (f"{_base64(raw)}.{body}", f"{header}.{_base64(raw)}"):
            yield "no claims", f"{text}.{_base64(mint.keys.private.sign(text.encode()))}"


def _mistaken(mint: Mint) -> Iterator[Mutation]:
    """Signed in earnest, and wrong all the same."""
    now = int(time.time())
    wrong: tuple[Mapping[str, object], ...] = (
        {"aud": "clarion2"},
        {"aud": "CLARION"},
        {"aud": ""},
        {"aud": []},
        {"aud": ["another", "mesh"]},
        {"aud": {"clarion": True}},
        {"aud": 1},
        {"aud": None},
        {"iss": "clarion"},
        {"iss": ""},
        {"iss": "clarion-gateway/"},
        {"iss": None},
        {"exp": now - 1},
        {"exp": now - 60, "iat": now - 900, "nbf": now - 900},
        {"exp": 0},
        {"exp": -1},
        {"exp": "soon"},
        {"exp": []},
        {"exp": None},
        {"nbf": now + 3_600},
        {"nbf": "later"},
        {"iat": now + 3_600},
        {"iat": "then"},
        {"iat": None},
        {"app": None},
        {"app": "victim"},
        {"app": ""},
        {"app": []},
        {"app": {}},
        {"sub": None},
        {"sub": 7},
        {"scope": None},
        {"ver": "x"},
        {"ver": []},
    )
    for changed in wrong:
        removed = {name for name, value in changed.items() if value is None}
        claims = {name: value for name, value in {**mint.claims(), **changed}.items() if name not in removed}
        signed = f"{encoded({'alg': 'EdDSA', 'typ': 'JWT', 'kid': mint.keys.active})}.{encoded(claims)}"
        yield "mistaken", f"{signed}.{_base64(mint.keys.private.sign(signed.encode()))}"
    for seconds in (1, 30, 300, 86_400):
        yield "mistaken", mint.signed(iat=now - seconds - 900, nbf=now - seconds - 900, exp=now - seconds)


# ---------------------------------------------------------------- damage


def _flipped(good: str, random: Random, part: int) -> str:
    """One bit of a part's bytes is another."""
    parts = good.split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=" * (-len(parts[part]) % 4)))
    raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
    parts[part] = _base64(bytes(raw))
    return ".".join(parts)


def _other_character(good: str, random: Random) -> str:
    """Also one whose bits nobody reads: those after the signature's end."""
    at = random.randrange(len(good))
    return f"{good[:at]}{random.choice(ALPHABET)}{good[at + 1 :]}"


def _last_character(good: str, random: Random) -> str:
    return good[:-1] + random.choice(ALPHABET)


def _inserted(good: str, random: Random) -> str:
    at = random.randrange(1, len(good))
    junk = "".join(random.choice("!$%&'()*+,/:;<=>?@[]^`{|}~ \"#") for _ in range(random.randint(1, 3)))
    return f"{good[:at]}{junk}{good[at:]}"


def _cut(good: str, random: Random) -> str:
    at = random.randrange(len(good))
    return good[:at] + good[at + random.randint(1, 5) :]


def _truncated(good: str, random: Random) -> str:
    return good[: random.randrange(len(good))]


def _extended(good: str, random: Random) -> str:
    return good + "".join(random.choice(ALPHABET + ".=") for _ in range(random.randint(1, 40)))


def _swapped(good: str, random: Random) -> str:
    first, second = sorted(random.sample(range(len(good)), 2))
    return f"{good[:first]}{good[second]}{good[first + 1 : second]}{good[first]}{good[second + 1 :]}"


def _noise(good: str, random: Random) -> str:
    return "".join(random.choice(ALPHABET + ".") for _ in range(random.randint(1, len(good) * 2)))


def _spliced(good: str, another: str, random: Random) -> str:
    """Begins as one good token and goes on as another."""
    at = random.randrange(1, min(len(good), len(another)) - 1)
    spliced = good[:at] + another[at:]
    return "" if spliced == another else spliced


def _resigned(mint: Mint, random: Random) -> str:
    """Good claims, signed with a key that was made up now."""
    return mint.stranger().signed(jti=random.randbytes(8).hex(), app=random.randrange(1, 50))


_DAMAGE: Mapping[str, Callable[[str, str, Mint, Random], str]] = {
    "bit of the header": lambda good, another, mint, random: _flipped(good, random, 0),
    "bit of the claims": lambda good, another, mint, random: _flipped(good, random, 1),
    "bit of the signature": lambda good, another, mint, random: _flipped(good, random, 2),
    "another character": lambda good, another, mint, random: _other_character(good, random),
    "last character": lambda good, another, mint, random: _last_character(good, random),
    "junk within": lambda good, another, mint, random: _inserted(good, random),
    "piece cut out": lambda good, another, mint, random: _cut(good, random),
    "cut short": lambda good, another, mint, random: _truncated(good, random),
    "extended": lambda good, another, mint, random: _extended(good, random),
    "characters swapped": lambda good, another, mint, random: _swapped(good, random),
    "noise": lambda good, another, mint, random: _noise(good, random),
    "spliced": lambda good, another, mint, random: _spliced(good, another, random),
    "signed by a stranger": lambda good, another, mint, random: _resigned(mint, random),
}
