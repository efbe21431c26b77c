"""A stolen database dump, without key-encryption key, pepper, token and link keys: what can be made of it.

Everything a superuser reads is at hand, and the thief knows the code. Each guess is paired with a control that uses the real
key: a check that would not notice success proves nothing.
"""

import asyncio
import hashlib
import hmac
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import grpc
import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clarion_gateway.tokens import AUDIENCE, ISSUER, TokenIssuer
from clarion_kit import links
from clarion_kit.errors import DomainError
from clarion_kit.keyfiles import TokenKeys, load_secret, load_token_keys
from clarion_kit.sealing import AppSealer, Unsealable, key_of, recipient_reference
from clarion_kit.vocabulary import Channel
from clarion_ledger.app_keys import hash_secret
from clarion_ledger.keys import KeyRing, load_wrapper

from .calls import ask, bearer
from .dump import dump
from .finding import Finding, Size
from .forging import honest_token
from .needles import search
from .stage import Stage
from .web import Web

_PHONE = "+821012345678"
"""Of every victim of the stage; the thief knows all but its last digits."""
_RANGE = {Size.SHORT: 1_000, Size.FULL: 10_000}
_KEYS = {Size.SHORT: 200, Size.FULL: 4_000}
_CALLS = {Size.SHORT: 5, Size.FULL: 100}
_SEALED = {Size.SHORT: 2, Size.FULL: 10}
_HEX = re.compile(rb"\\\\x((?:[0-9a-f]{2}){16,200})(?=[\t\n])")
_WHO = "/clarion.notification.v1.NotificationService/List"


@dataclass(frozen=True, slots=True)
class Loot:
    """The dump; `values` are its binary columns of 16 to 200 bytes, `keys` what of them may be a key, the likeliest first."""

    rows: bytes
    values: frozenset[bytes]
    keys: Sequence[bytes]


async def attack(stage: Stage, size: Size) -> Finding:
    """`notes` count the guesses of each kind."""
    await stage.victim.client.recipients.upsert(stage.victim.everywhere("stolen"))
    loot = _loot(await dump(stage.pool), stage.random("stolen"), _KEYS[size])
    escapes: list[str] = []
    notes: dict[str, float | int | str] = {
        "secrets": await _secrets(stage, loot, escapes),
        "hashes": _hashes(stage, loot, escapes),
        "phone_guesses": await _phones(stage, loot, size, escapes),
        "sealed_tries": await _sealed(stage, loot, size, escapes),
        "wrapped_tries": await _wrapped(stage, loot, escapes),
        "tokens": await _tokens(stage, loot, size, escapes),
        "links": await _links(stage, loot, size, escapes),
    }
    return Finding(
        "stolen", sum(int(count) for count in notes.values()), escapes, {**notes, "dump_bytes": len(loot.rows)}
    )


def _loot(tables: Mapping[str, bytes], random: Random, most_keys: int) -> Loot:
    rows = b"".join(tables.values())
    values = frozenset(bytes.fromhex(found.decode()) for found in _HEX.findall(rows))
    whole = [value for value in values if len(value) == 32]
    wrapped = [bytes.fromhex(found.decode()) for found in _HEX.findall(tables["ledger.data_key"])]
    parts = [part for value in wrapped for part in (value[:32], value[12:44], value[-32:])]
    others = [value[:32] for value in values if len(value) > 32]
    random.shuffle(whole)
    random.shuffle(others)
    known = [b"\0" * 32, hashlib.sha256(b"").digest(), hashlib.sha256(b"clarion").digest()]
    keys = [*known, *parts, *whole[: most_keys // 2], *others]
    return Loot(rows, values, list(dict.fromkeys(keys))[:most_keys])


async def _secrets(stage: Stage, loot: Loot, escapes: list[str]) -> int:
    """None of what opens anything lies in the dump, in any form."""
    ends, keys = stage.stack.endpoints, stage.folders.keys
    secrets = {
        "app secret": stage.victim.app_secret,
        "other app's secret": stage.attacker.app_secret,
        "operator's secret": ends.admin_secret,
        "a token": await honest_token(stage, stage.victim.app_key, stage.victim.app_secret),
        "SMTP password": stage.victim.practice.document["smtp"]["password"],
        "APNs key": stage.victim.practice.document["apns"]["private_key"].splitlines()[1],
        **{f"{name} key": (keys / f"{name}.key").read_text().strip() for name in ("pepper", "link_key")},
        **dict(_documented("key-encryption key", json.loads((keys / "kek.key").read_text()))),
        **dict(_documented("token key", json.loads((keys / "token_keys.key").read_text()))),
        **dict(_documented("password of a role", json.loads((keys / "roles.json").read_text()))),
    }
    with tempfile.NamedTemporaryFile() as stolen:
        stolen.write(loot.rows)
        stolen.flush()
        hits, _ = await asyncio.to_thread(search, [Path(stolen.name)], secrets)
    escapes += [f"the dump holds the {hit.label} as {hit.form}" for hit in hits]
    raw = {"pepper": load_secret(keys / "pepper.key"), "link key": load_secret(keys / "link_key.key")}
    escapes += [f"the dump holds the {label} raw" for label, key in raw.items() if key.hex().encode() in loot.rows]
    return len(secrets) + len(raw)


def _documented(label: str, document: object) -> Iterator[tuple[str, str]]:
    """The long texts of a key file: its keys."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _documented(f"{label} {name}", value)
    elif isinstance(document, str) and len(document) >= 20:
        yield label, document


def _hashes(stage: Stage, loot: Loot, escapes: list[str]) -> int:
    """A dictionary that holds the right secret is of no use without the pepper."""
    secret, app_key = stage.victim.app_secret.encode(), stage.victim.app_key.encode()
    guesses = [
        hashlib.new(name, text).digest() for name in _DIGESTS for text in (secret, app_key + secret, secret + app_key)
    ]
    guesses += [
        hmac.digest(key, text, "sha256")
        for key in (b"", b"\0" * 32, app_key, b"victim", *loot.keys)
        for text in (secret, app_key + b":" + secret)
    ]
    escapes += ["a secret was found by its hash without the pepper" for guess in guesses if guess in loot.values]
    if hash_secret(load_secret(stage.folders.keys / "pepper.key"), stage.victim.app_secret) not in loot.values:
        escapes.append("the check of hashes notices nothing: the right hash is not in the dump")
    return len(guesses)


_DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")


async def _phones(stage: Stage, loot: Loot, size: Size, escapes: list[str]) -> int:
    """Every number of a small range, under every key that a thief may think of."""
    sealer = await _sealer(stage)
    namespace = b"address sms\0"
    if sealer.blind_index("address sms", _PHONE.encode()) not in loot.values:
        escapes.append("the check of phone numbers notices nothing: the number is not in the dump")
    numbers = [f"{_PHONE[:-4]}{last:04d}".encode() for last in _last_digits(_RANGE[size])]
    keys = [b"", b"\0" * 32, b"%d" % stage.victim_id, *loot.keys[:16]]
    guesses = 0
    for number in numbers:
        made = [
            hashlib.sha256(text).digest() for text in (number, b"%d" % stage.victim_id + number, namespace + number)
        ]
        made += [hmac.digest(key, text, "sha256") for key in keys for text in (number, namespace + number)]
        guesses += len(made)
        escapes += [f"a phone number was guessed from its index: {number[-4:]!r}" for one in made if one in loot.values]
    return guesses


def _last_digits(count: int) -> Sequence[int]:
    """So many, the right ones among them."""
    right = int(_PHONE[-4:])
    first = max(0, min(right - count // 2, 10_000 - count))
    return range(first, first + count)


async def _sealed(stage: Stage, loot: Loot, size: Size, escapes: list[str]) -> int:
    """Sealed addresses under every likely key; and, with the right one, moved to another row."""
    rows = await stage.pool.fetch(
        "SELECT address_id, sealed FROM preference.address WHERE app_id = $1 AND sealed IS NOT NULL ORDER BY 1 LIMIT $2",
        stage.victim_id,
        max(2, _SEALED[size]),
    )
    right = await _sealer(stage)
    tries = 0
    for place, row in enumerate(rows):
        sealed, owner = row["sealed"], row["address_id"].bytes
        right.open("address", owner, "address", sealed)
        moved = rows[place - 1]["address_id"].bytes
        for table, other, column in (
            ("address", moved, "address"),
            ("address", owner, "facts"),
            ("lane", owner, "address"),
        ):
            tries += 1
            if _opens(right, table, other, column, sealed):
                escapes.append("a sealed value opened in another place than its own")
        for key in loot.keys:
            tries += 2
            if _opens(AppSealer(stage.victim_id, {key_of(sealed) or 1: key}), "address", owner, "address", sealed):
                escapes.append("a sealed address opened with a key from the dump")
            if _decrypts(key, sealed[5:17], sealed[17:]):
                escapes.append("a sealed address was decrypted with a key from the dump")
    return tries


async def _wrapped(stage: Stage, loot: Loot, escapes: list[str]) -> int:
    """Data keys lie there wrapped: under every likely key, and as another app's."""
    rows = await stage.pool.fetch("SELECT app_id, key_id, kek_id, wrapped FROM ledger.data_key LIMIT 8")
    wrapper = load_wrapper(stage.folders.keys / "kek.key")
    tries = 0
    for row in rows:
        wrapped = row["wrapped"]
        await wrapper.unwrap(row["app_id"], row["key_id"], row["kek_id"], wrapped)
        for app_id, key_id in ((row["app_id"] + 1, row["key_id"]), (row["app_id"], row["key_id"] + 1)):
            tries += 1
            try:
                await wrapper.unwrap(app_id, key_id, row["kek_id"], wrapped)
            except Unsealable:
                continue
            escapes.append("a wrapped data key was taken for another one")
        place = b"%d:%d" % (row["app_id"], row["key_id"])
        for key in loot.keys:
            tries += 1
            if _decrypts(key, wrapped[:12], wrapped[12:], place):
                escapes.append("a data key was unwrapped with a key from the dump")
    return tries


async def _tokens(stage: Stage, loot: Loot, size: Size, escapes: list[str]) -> int:
    """Tokens signed with whatever the dump holds, against the real verifier, and some of them at the real door."""
    keys = load_token_keys(stage.folders.keys / "token_keys.key")
    verifier = TokenIssuer(keys, timedelta(minutes=15))
    verifier.verify(await honest_token(stage, stage.victim.app_key, stage.victim.app_secret))
    forged = [token for key in loot.keys for token in _forged(stage, keys, key)]
    for token in forged:
        try:
            verifier.verify(token)
        except DomainError:
            continue
        escapes.append("a token signed with a key from the dump was believed")
    async with stage.gateway_channel() as channel:
        for token in forged[: _CALLS[size]]:
            answer = await ask(channel, _WHO, b"", bearer(token))
            if answer.code is not grpc.StatusCode.UNAUTHENTICATED:
                escapes.append(f"a token signed with a key from the dump was answered {answer.code.name}")
    return len(forged) + _CALLS[size]


def _forged(stage: Stage, keys: TokenKeys, key: bytes) -> Iterator[str]:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": stage.victim.app_key,
        "app": stage.victim_id,
        "ver": 1,
        "scope": "admin",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
    }
    headers = {"kid": keys.active}
    yield jwt.encode(claims, Ed25519PrivateKey.from_private_bytes(key), algorithm="EdDSA", headers=headers)
    yield jwt.encode(claims, key, algorithm="HS256", headers=headers)


async def _links(stage: Stage, loot: Loot, size: Size, escapes: list[str]) -> int:
    """Links signed with whatever the dump holds."""
    real = load_secret(stage.folders.keys / "link_key.key")
    person = UUID(bytes=recipient_reference(stage.victim_id, "stolen"))
    delivery = links.OpenLink(stage.victim_id, person, 1, 0, "KR", Channel.EMAIL)
    leaving = links.UnsubscribeLink(stage.victim_id, person, 1, Channel.EMAIL)
    now = datetime.now(UTC)
    page = links.PageLink(stage.victim_id, person, now + timedelta(days=1))
    bounce = links.ReturnPath(1, person)
    if links.verify_unsubscribe(real, links.sign_unsubscribe(real, leaving)) != leaving:
        escapes.append("the check of links notices nothing: a good link is refused")
    for key in loot.keys:
        packed = links.packed(delivery)
        found = (
            links.verify_open(real, links.sign_open(key, delivery)),
            links.verify_event(real, links.sign_event(key, delivery)),
            links.verify_unsubscribe(real, links.sign_unsubscribe(key, leaving)),
            links.verify_page(real, links.sign_page(key, page), now),
            links.verify_return_path(real, links.sign_return_path(key, bounce)),
            links.verify_click(
                real, links.sign_click(links.click_key(key, packed), packed, 1, "https://evil.example/")
            ),
            # One purpose's signature does not serve another, nor does a delivery's key.
            links.verify_click(real, links.sign_click(key, packed, 1, "https://evil.example/")),
        )
        escapes += ["a link signed with a key from the dump was believed" for one in found if one is not None]
    web = Web(stage)
    for key in loot.keys[: _CALLS[size]]:
        form = {"content-type": "application/x-www-form-urlencoded"}
        token = links.sign_unsubscribe(key, leaving)
        answer = await web.ask("POST", f"/u/{token}", form, b"List-Unsubscribe=One-Click")
        if answer.status != 404:
            escapes.append(f"a link signed with a key from the dump was answered {answer.status}")
    return 7 * len(loot.keys) + _CALLS[size]


async def _sealer(stage: Stage) -> AppSealer:
    """The victim's real one: for controls alone."""
    return await KeyRing(stage.pool, load_wrapper(stage.folders.keys / "kek.key")).sealer(stage.victim_id)


def _opens(sealer: AppSealer, table: str, owner: bytes, column: str, sealed: bytes) -> bool:
    try:
        sealer.open(table, owner, column, sealed)
    except Unsealable:
        return False
    return True


def _decrypts(key: bytes, nonce: bytes, ciphertext: bytes, place: bytes | None = None) -> bool:
    try:
        AESGCM(key).decrypt(nonce, ciphertext, place)
    except InvalidTag:
        return False
    return True
