"""Who gets in: tokens, keys, revocation."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clarion.app.v1 import app_service_pb2 as app
from clarion.auth.v1 import auth_service_pb2 as auth
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_gateway import standing
from clarion_gateway.door import Door
from clarion_gateway.standing import BLIND_AFTER_SECONDS, KeyStandings, KeyUses, RevocationsUnknown
from clarion_gateway.token_key_log import ACTOR, note_token_keys
from clarion_gateway.tokens import SKEW, TokenIssuer, TokenKeyFile
from clarion_kit import token_rotation
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.keyfiles import TokenKeys, load_token_keys, new_token_key_file, write_private
from clarion_ledger import app_keys
from clarion_ledger.db import Pool

from .gateway_samples import Client, Gateway, answer, eventually, notification, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEND = "/clarion.notification.v1.NotificationService/Send"
GET = "/clarion.notification.v1.NotificationService/Get"


@pytest.fixture
def issuer(token_keys: TokenKeys) -> TokenIssuer:
    return TokenIssuer(token_keys, timedelta(minutes=15))


def claims(**changed: object) -> dict[str, object]:
    now = datetime.now(UTC)
    whole: dict[str, object] = {
        "iss": "clarion-gateway",
        "aud": "clarion",
        "sub": "ck_1",
        "app": 1,
        "scope": "send:*",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        **changed,
    }
    return {name: value for name, value in whole.items() if value is not None}


def signed(keys: TokenKeys, kid: str = "t1", **changed: object) -> str:
    return jwt.encode(claims(**changed), keys.private, algorithm="EdDSA", headers={"kid": kid})


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def with_another_scope(token: str) -> str:
    header, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{header}.{part({**told, 'scope': 'admin'})}.{signature}"


def deep_header(keys: TokenKeys) -> str:
    """Nested further than a parser goes, and within the 8 KiB of metadata that gRPC always takes."""
    header = base64.urlsafe_b64encode(b"[" * 2_500 + b"]" * 2_500).rstrip(b"=").decode()
    return f"{header}.{signed(keys).partition('.')[2]}"


def other_form(token: str) -> str:
    """The same signature with other bits behind its last byte."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


FORGERIES: dict[str, Callable[[TokenKeys], str]] = {
    "expired": lambda keys: signed(keys, exp=datetime.now(UTC) - timedelta(seconds=1)),
    "altered": lambda keys: with_another_scope(signed(keys)),
    "signature cut off": lambda keys: signed(keys).rpartition(".")[0] + ".",
    "algorithm none": lambda keys: f"{part({'alg': 'none', 'kid': 't1'})}.{part({'app': 1, 'exp': 4e9})}.",
    "signed by a password": lambda keys: jwt.encode(claims(), "x" * 32, algorithm="HS256", headers={"kid": "t1"}),
    "key of a stranger": lambda keys: jwt.encode(
        claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "t1"}
    ),
    "unknown key id": lambda keys: signed(keys, kid="t9"),
    "no key id": lambda keys: jwt.encode(claims(), keys.private, algorithm="EdDSA"),
    "wrong audience": lambda keys: signed(keys, aud="another"),
    "wrong issuer": lambda keys: signed(keys, iss="another"),
    "no app": lambda keys: signed(keys, app=None),
    "app that is no number": lambda keys: signed(keys, app="shop"),
    "no expiry": lambda keys: signed(keys, exp=None),
    "header nested too deep": deep_header,
    "signature in another form": lambda keys: other_form(signed(keys)),
    "junk in the signature": lambda keys: f"{signed(keys)[:-1]}!{signed(keys)[-1]}",
    "padded": lambda keys: f"{signed(keys)}==",
    "no token at all": lambda keys: "x",
    "empty": lambda keys: "",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_forged_token_is_refused_in_one_text(gateway: Gateway, forge: Callable[[TokenKeys], str]) -> None:
    client = Client(gateway, 0, "", forge(gateway.token_keys))
    client.auth = client.auth or (("authorization", "Bearer "),)

    refused = await refusal(client.send(notification()))

    assert (refused.code, refused.reason, refused.message, refused.metadata) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "UNAUTHENTICATED",
        "not authenticated",
        {},
    )


@pytest.mark.parametrize("header", ["", "Basic dXNlcjpwdw==", "Bearer"])
async def test_call_without_a_bearer_token_is_refused(gateway: Gateway, header: str) -> None:
    client = gateway.anonymous()
    client.auth = (("authorization", header),)

    assert (await refusal(client.send(notification()))).reason == "UNAUTHENTICATED"


async def test_key_and_secret_give_a_token_that_works(gateway: Gateway, pepper: bytes) -> None:
    owner = await gateway.app()
    key, secret = await app_keys.create_key(gateway.pool, pepper, owner.app_id, ["send:sms", "status:read"])

    issued = await owner.tokens.IssueToken(auth.IssueTokenRequest(app_key=key.app_key, app_secret=secret))

    client = Client(gateway, owner.app_id, owner.app, issued.token)
    assert list(issued.scopes) == ["send:sms", "status:read"]
    assert timedelta(0) < issued.expires_at.ToDatetime(UTC) - datetime.now(UTC) <= timedelta(minutes=15)
    sent = await client.send(notification())
    assert (await client.get(sent.notification_id)).notification.category == "transactional"


async def test_unknown_key_and_wrong_secret_look_the_same(gateway: Gateway, pepper: bytes) -> None:
    owner = await gateway.app()
    key, secret = await app_keys.create_key(gateway.pool, pepper, owner.app_id, ["send:*"])
    attempts = [
        (key.app_key, "wrong"),
        ("ck_nobody", secret),
        (key.app_key, ""),
        ("", ""),
        (f"{key.app_key}\0", secret),
        ("x" * 1_000, secret),
        (key.app_key, secret * 10),
    ]

    refusals = [
        await refusal(owner.tokens.IssueToken(auth.IssueTokenRequest(app_key=name, app_secret=word)))
        for name, word in attempts
    ]

    assert {(one.code, one.reason, one.message) for one in refusals} == {
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "not authenticated")
    }
    assert all(not one.metadata for one in refusals)


async def test_key_that_ended_gives_no_token(gateway: Gateway, pepper: bytes) -> None:
    owner = await gateway.app()
    past = datetime.now(UTC) - timedelta(seconds=1)
    key, secret = await app_keys.create_key(gateway.pool, pepper, owner.app_id, ["send:*"], past)

    refused = await refusal(owner.tokens.IssueToken(auth.IssueTokenRequest(app_key=key.app_key, app_secret=secret)))

    assert refused.reason == "UNAUTHENTICATED"


async def test_revoked_key_is_refused_within_three_seconds_also_on_an_open_stream(
    gateway: Gateway, pepper: bytes
) -> None:
    owner = await gateway.app()
    key, secret = await app_keys.create_key(gateway.pool, pepper, owner.app_id, ["send:*"])
    request = auth.IssueTokenRequest(app_key=key.app_key, app_secret=secret)
    client = Client(gateway, owner.app_id, owner.app, (await owner.tokens.IssueToken(request)).token)
    stream = client.stream()
    await stream.write(pb.SendStreamRequest(notification=notification()))
    assert (await answer(stream)).accepted.notification_id

    revoked = await owner.apps.RevokeKey(app.RevokeKeyRequest(app_key=key.app_key), metadata=owner.auth)

    async def is_refused() -> bool:
        try:
            await client.send(notification())
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    await eventually(is_refused, seconds=3)
    assert revoked.key.HasField("revoked_at")
    assert (await refusal(owner.tokens.IssueToken(request))).reason == "UNAUTHENTICATED"
    await stream.write(pb.SendStreamRequest(notification=notification()))
    assert (await refusal(stream.read())).reason == "UNAUTHENTICATED"


async def test_without_news_of_revocations_no_token_is_believed(
    issuer: TokenIssuer, ledger: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(standing, "time", SimpleNamespace(monotonic=lambda: now))
    standings = KeyStandings(ledger)
    entrance = Door(issuer, standings, KeyUses(ledger))
    header = {"authorization": f"Bearer {issuer.issue(1, uuid4().hex, frozenset({'send:*'})).text}"}

    with pytest.raises(RevocationsUnknown):
        entrance.authenticate(SEND, header, frozenset())
    await standings.refresh()
    now += BLIND_AFTER_SECONDS
    assert entrance.authenticate(SEND, header, frozenset()).app_id == 1
    now += 1
    with pytest.raises(RevocationsUnknown):
        entrance.authenticate(SEND, header, frozenset())
    await standings.refresh()
    assert entrance.authenticate(SEND, header, frozenset()).app_id == 1


async def test_scope_of_the_method_is_required_and_who_lacks_it_is_logged(
    issuer: TokenIssuer, ledger: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    standings = KeyStandings(ledger)
    await standings.refresh()
    entrance = Door(issuer, standings, KeyUses(ledger))
    header = {"authorization": f"bearer {issuer.issue(1, 'ck', frozenset({'send:sms'})).text}"}

    assert entrance.authenticate(SEND, header, frozenset()).key == "ck"
    with pytest.raises(DomainError) as refused:
        entrance.authenticate(GET, header, frozenset())
    assert refused.value.reason is ErrorReason.SCOPE_MISSING
    assert [(vars(record)["caller"], vars(record)["method"]) for record in caplog.records] == [("ck", GET)]


async def test_method_outside_the_contract_is_refused(issuer: TokenIssuer, ledger: Pool) -> None:
    with pytest.raises(DomainError) as refused:
        Door(issuer, KeyStandings(ledger), KeyUses(ledger)).authenticate("/clarion.internal.x/Y", {}, frozenset())
    assert refused.value.reason is ErrorReason.UNAUTHENTICATED


async def test_verified_token_is_remembered_no_longer_than_it_lives(token_keys: TokenKeys) -> None:
    short = TokenIssuer(token_keys, timedelta(seconds=0))
    with pytest.raises(DomainError):
        short.verify(short.issue(1, "ck", frozenset()).text)

    lasting = TokenIssuer(token_keys, timedelta(minutes=1))
    token = lasting.issue(7, "ck", frozenset({"admin", "send:*"}))
    assert lasting.verify(token.text) is lasting.verify(token.text)
    assert lasting.verify(token.text).caller.scopes == {"admin", "send:*"}


async def test_two_keys_are_live_while_one_is_replaced(tmp_path: Path) -> None:
    keys = {name: base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode() for name in ("a", "b")}

    def issuer(active: str, *names: str) -> TokenIssuer:
        path = tmp_path / f"{active}-{'-'.join(names)}"
        write_private(path, json.dumps({"active": active, "keys": {name: keys[name] for name in names}}))
        return TokenIssuer(load_token_keys(path), timedelta(minutes=1))

    old, both, new = issuer("a", "a"), issuer("b", "a", "b"), issuer("b", "b")
    first, second = old.issue(1, "ck", frozenset()).text, both.issue(2, "ck", frozenset()).text

    assert (both.verify(first).caller.app_id, both.verify(second).caller.app_id) == (1, 2)
    assert new.verify(second).caller.app_id == 2
    for issuer_, token in ((old, second), (new, first)):
        with pytest.raises(DomainError):
            issuer_.verify(token)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_token_of_a_gateway_whose_clock_is_a_little_ahead_is_believed(
    token_keys: TokenKeys, issuer: TokenIssuer, claim: str
) -> None:
    def ahead(seconds: float) -> str:
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        return signed(token_keys, iat=moment) if claim == "iat" else signed(token_keys, nbf=moment)

    assert issuer.verify(ahead(SKEW.total_seconds() - 5)).caller.key == "ck_1"
    with pytest.raises(DomainError):
        issuer.verify(ahead(SKEW.total_seconds() + 5))


async def test_token_of_before_secrets_had_versions_is_of_the_first(token_keys: TokenKeys, issuer: TokenIssuer) -> None:
    assert issuer.verify(signed(token_keys)).secret_version == 1
    assert issuer.verify(issuer.issue(1, "ck", frozenset(), 3).text).secret_version == 3


async def not_told(former: TokenKeys | None, now: TokenKeys) -> None:
    """Nobody listens."""


async def test_change_of_token_keys_is_told_until_it_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    new_token_key_file(path)
    issuer = TokenIssuer(load_token_keys(path), timedelta(minutes=1))
    away = True
    told: list[tuple[str | None, list[str], str]] = []

    async def tell(former: TokenKeys | None, now: TokenKeys) -> None:
        if away:
            raise RevocationsUnknown("the ledger is away")
        told.append((former.active if former else None, sorted(now.public), now.active))

    file = TokenKeyFile(path, issuer, tell)
    with pytest.raises(RevocationsUnknown):
        await file.look()
    away = False
    await file.look()
    await file.look()
    token_rotation.add_key(path)
    away = True
    with pytest.raises(RevocationsUnknown):
        await file.look()
    token_rotation.activate_key(path)
    away = False
    await file.look()
    await file.look()

    assert told == [(None, ["t1"], "t1"), ("t1", ["t1", "t2"], "t2")]
    assert jwt.get_unverified_header(issuer.issue(1, "ck", frozenset()).text)["kid"] == "t2"


async def test_change_of_token_keys_is_in_the_audit_log(ledger: Pool, tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    new_token_key_file(path)
    issuer = TokenIssuer(load_token_keys(path), timedelta(minutes=1))
    file = TokenKeyFile(path, issuer, partial(note_token_keys, ledger))
    await file.look()
    token_rotation.add_key(path)
    await file.look()

    entry = await ledger.fetchrow(
        "SELECT actor_key, before, after FROM ledger.audit_log WHERE act = 'ReplaceTokenKeys' ORDER BY seq DESC LIMIT 1"
    )
    assert entry is not None
    assert entry["actor_key"] == ACTOR
    assert json.loads(entry["after"]) == {"signs": "t1", "verify": ["t1", "t2"]}


async def test_new_token_keys_are_used_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens.json"
    new_token_key_file(path)
    issuer = TokenIssuer(load_token_keys(path), timedelta(minutes=1))
    file = TokenKeyFile(path, issuer, not_told)
    before = issuer.issue(1, "ck", frozenset()).text

    async def kid_after(change: Callable[[], object]) -> str:
        change()
        await file.look()
        return str(jwt.get_unverified_header(issuer.issue(1, "ck", frozenset()).text)["kid"])

    assert await kid_after(lambda: None) == "t1"
    assert await kid_after(lambda: token_rotation.add_key(path)) == "t1"
    assert await kid_after(lambda: token_rotation.activate_key(path)) == "t2"
    assert issuer.verify(before).caller.app_id == 1
    assert await kid_after(lambda: path.write_text("{")) == "t2"
    assert await kid_after(path.unlink) == "t2"
    assert issuer.verify(before).caller.app_id == 1
    assert [record.levelname for record in caplog.records if record.levelname == "ERROR"] == ["ERROR", "ERROR"]


async def test_token_of_a_key_that_was_taken_away_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    new_token_key_file(path)
    issuer = TokenIssuer(load_token_keys(path), timedelta(minutes=1))
    file = TokenKeyFile(path, issuer, not_told)
    await file.look()
    token = issuer.issue(1, "ck", frozenset()).text
    assert issuer.verify(token).caller.app_id == 1

    for _ in range(2):
        token_rotation.add_key(path)
        token_rotation.activate_key(path)
    await file.look()

    with pytest.raises(DomainError):
        issuer.verify(token)
