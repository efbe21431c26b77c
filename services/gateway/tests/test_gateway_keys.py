"""What apps and keys may do: rotation, limits, quotas, and how fast every gateway knows."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from clarion.app.v1 import app_service_pb2 as app
from clarion.auth.v1 import auth_service_pb2 as auth
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.template.v1 import template_service_pb2 as template
from clarion_gateway import app as gateway_app
from clarion_gateway import quotas
from clarion_gateway.standing import KeyUses
from clarion_kit import mesh
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.rpc.caller import SCOPES
from clarion_kit.sealing import KeyWrapper
from clarion_ledger import admin, app_keys
from clarion_ledger.app_keys import UNLIMITED, KeyLimits, KeyRow
from clarion_ledger.db import Pool

from .gateway_samples import (
    EVERYTHING,
    Client,
    Gateway,
    Limiting,
    Peers,
    answer,
    eventually,
    notification,
    refusal,
    running,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERYWHERE_SECONDS = 5.0
"""How soon every gateway must know."""
HERE = "127.0.0.1/32"
ELSEWHERE = "192.0.2.0/24"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def second(
    gateway_env: dict[str, str], ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys
) -> AsyncIterator[Gateway]:
    """A second gateway of the same mesh."""
    async with running(gateway_env, ledger, kek, token_keys) as serving:
        yield serving


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quick(
    gateway_env: dict[str, str], ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys
) -> AsyncIterator[Gateway]:
    """A gateway that looks at keys all the time, and stands behind a proxy on this machine."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gateway_app, "STANDINGS_EVERY", timedelta(milliseconds=50))
        env = {**gateway_env, "CLARION_TRUSTED_PROXIES": HERE}
        async with running(env, ledger, kek, token_keys) as serving:
            yield serving


class Keyed:
    """An app with one key, as both gateways see it."""

    def __init__(self, owner: Client, key: KeyRow, secret: str) -> None:
        self.owner = owner
        self.key = key
        self.secret = secret

    def token_request(self) -> auth.IssueTokenRequest:
        return auth.IssueTokenRequest(app_key=self.key.app_key, app_secret=self.secret)

    async def client(self, gateway: Gateway) -> Client:
        """With a token from that gateway."""
        issued = await Client(gateway, 0, "", "").tokens.IssueToken(self.token_request())
        return Client(gateway, self.owner.app_id, self.owner.app, issued.token)


Make = Callable[..., Awaitable[Keyed]]


@pytest.fixture
def keyed(gateway: Gateway, pepper: bytes) -> Make:
    async def make(limits: KeyLimits = UNLIMITED, scopes: tuple[str, ...] = EVERYTHING) -> Keyed:
        owner = await gateway.app()
        key, secret = await app_keys.create_key(gateway.pool, pepper, owner.app_id, scopes, None, limits)
        return Keyed(owner, key, secret)

    return make


async def works(client: Client) -> bool:
    """Whether the client's token is believed. Fails where it is refused for anything else."""
    try:
        await client.notifications.List(pb.ListRequest(), metadata=client.auth)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return False
        raise
    return True


async def seconds_until_refused(*clients: Client) -> float:
    started = time.monotonic()

    async def refused() -> bool:
        return not any(await asyncio.gather(*(works(client) for client in clients)))

    await eventually(refused, seconds=EVERYWHERE_SECONDS)
    return time.monotonic() - started


# ---------------------------------------------------------------- revocation and rotation


async def test_revoked_key_is_refused_by_every_gateway_within_five_seconds(
    gateway: Gateway, second: Gateway, keyed: Make
) -> None:
    key = await keyed()
    here, there = await key.client(gateway), await key.client(second)
    assert await works(here)
    assert await works(there)

    await key.owner.apps.RevokeKey(app.RevokeKeyRequest(app_key=key.key.app_key), metadata=key.owner.auth)

    assert await seconds_until_refused(here, there) <= EVERYWHERE_SECONDS


async def test_former_secret_and_its_tokens_live_on_for_the_grace(gateway: Gateway, keyed: Make) -> None:
    key = await keyed()
    old = await key.client(gateway)
    request = app.RotateKeyRequest(app_key=key.key.app_key, grace=Duration(seconds=3_600))

    rotated = await key.owner.apps.RotateKey(request, metadata=key.owner.auth)

    again = await key.client(gateway)
    key.secret = rotated.app_secret
    new = await key.client(gateway)
    assert (rotated.key.secret_version, rotated.app_secret[:3]) == (2, "cs_")
    assert timedelta(minutes=59) < rotated.key.former_secret_until.ToDatetime(UTC) - datetime.now(UTC)
    assert [await works(client) for client in (old, again, new)] == [True, True, True]


async def test_rotation_at_once_ends_the_tokens_of_the_former_secret_everywhere(
    gateway: Gateway, second: Gateway, keyed: Make
) -> None:
    key = await keyed()
    here, there = await key.client(gateway), await key.client(second)

    rotated = await key.owner.apps.RotateKey(app.RotateKeyRequest(app_key=key.key.app_key), metadata=key.owner.auth)

    assert not rotated.key.HasField("former_secret_until")
    assert (await refusal(key.owner.tokens.IssueToken(key.token_request()))).reason == "UNAUTHENTICATED"
    assert await seconds_until_refused(here, there) <= EVERYWHERE_SECONDS
    key.secret = rotated.app_secret
    assert await works(await key.client(second))


async def test_disabled_app_is_refused_everywhere_until_it_is_enabled(
    gateway: Gateway, second: Gateway, keyed: Make
) -> None:
    key, operator = await keyed(), await gateway.app("admin")
    here, there = await key.client(gateway), await key.client(second)

    off = await operator.apps.UpdateApp(app.UpdateAppRequest(app=key.owner.app, enabled=False), metadata=operator.auth)
    await seconds_until_refused(here, there)
    refused = await refusal(operator.tokens.IssueToken(key.token_request()))
    on = await operator.apps.UpdateApp(app.UpdateAppRequest(app=key.owner.app, enabled=True), metadata=operator.auth)

    async def believed() -> bool:
        return all(await asyncio.gather(works(here), works(there)))

    await eventually(believed, seconds=EVERYWHERE_SECONDS)
    assert (off.app.enabled, on.app.enabled, refused.reason) == (False, True, "UNAUTHENTICATED")


# ---------------------------------------------------------------- networks


def every_method(client: Client) -> list[tuple[str, Awaitable[object]]]:
    """A call of every public method that needs a token, with an empty request."""
    calls: list[tuple[str, Awaitable[object]]] = []
    channel = client.gateway.channel
    for path, method in mesh.public_methods().items():
        if method.required_scope == "none":
            continue
        if method.client_streaming:
            streamed: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
            calls.append((path, streamed(iter([b""]), metadata=client.auth).read()))
        else:
            single: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
            calls.append((path, single(b"", metadata=client.auth).read()))
    return calls


async def test_key_is_refused_by_every_method_outside_its_networks(quick: Gateway, keyed: Make) -> None:
    key = await keyed()
    client = await key.client(quick)
    await key.owner.apps.UpdateKey(
        app.UpdateKeyRequest(app_key=key.key.app_key, networks=app.Networks(cidrs=[ELSEWHERE])), metadata=key.owner.auth
    )

    async def known() -> bool:
        try:
            await client.notifications.List(pb.ListRequest(), metadata=client.auth)
        except grpc.aio.AioRpcError:
            return True
        return False

    await eventually(known, seconds=EVERYWHERE_SECONDS)
    reasons = {path: (await refusal(call)).reason for path, call in every_method(client)}

    assert {
        path: reason for path, reason in reasons.items() if reason not in ("NETWORK_NOT_ALLOWED", "NOT_BUILT")
    } == {}
    assert len(reasons) > 40


async def test_good_secret_in_the_wrong_place_looks_like_a_wrong_one(gateway: Gateway, keyed: Make) -> None:
    key = await keyed(KeyLimits((ip_network(ELSEWHERE),)))

    refused = await refusal(gateway.anonymous().tokens.IssueToken(key.token_request()))

    assert (refused.reason, refused.message, refused.metadata) == ("UNAUTHENTICATED", "not authenticated", {})


async def test_open_stream_ends_when_its_key_may_not_be_used_from_there_any_more(quick: Gateway, keyed: Make) -> None:
    key = await keyed(KeyLimits((ip_network(HERE),)))
    client = await key.client(quick)
    stream = client.stream()
    await stream.write(pb.SendStreamRequest(notification=notification()))
    assert (await answer(stream)).accepted.notification_id

    await app_keys.limit_key(quick.pool, key.key.app_key, networks=[ip_network(ELSEWHERE)])

    async def refused() -> bool:
        try:
            await client.notifications.List(pb.ListRequest(), metadata=client.auth)
        except grpc.aio.AioRpcError:
            return True
        return False

    await eventually(refused, seconds=EVERYWHERE_SECONDS)
    await stream.write(pb.SendStreamRequest(notification=notification()))
    assert (await refusal(stream.read())).reason == "NETWORK_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("192.0.2.9", True),
        ("192.0.2.9, 127.0.0.1", True),
        ("192.0.2.9, 198.51.100.1", False),
        ("nonsense", False),
        ("", False),
    ],
)
async def test_behind_a_trusted_proxy_its_header_tells_who_calls(
    gateway: Gateway, quick: Gateway, keyed: Make, header: str, good: bool
) -> None:
    key = await keyed(KeyLimits((ip_network(ELSEWHERE),)))
    metadata = (("x-forwarded-for", header),) if header else ()

    async def issued(by: Gateway) -> bool:
        try:
            await by.anonymous().tokens.IssueToken(key.token_request(), metadata=metadata)
        except grpc.aio.AioRpcError:
            return False
        return True

    assert (await issued(quick), await issued(gateway)) == (good, False)


# ---------------------------------------------------------------- quotas


async def known_limits(gateway: Gateway, client: Client) -> None:
    """Until the gateway has looked at the keys once more, so that it knows of a new key's limits."""
    marker, _ = await app_keys.create_key(gateway.pool, b"pepper", client.app_id, ["status:read"], None, KeyLimits())
    await app_keys.revoke_key(gateway.pool, marker.app_key)
    issuer_token = gateway.token_for(client.app_id, marker.app_key)
    await seconds_until_refused(Client(gateway, client.app_id, client.app, issuer_token))


async def test_calls_over_the_quota_are_told_when_to_try_again(quick: Gateway, keyed: Make) -> None:
    key = await keyed(KeyLimits((), 2, None))
    client = await key.client(quick)
    await known_limits(quick, client)

    await client.notifications.List(pb.ListRequest(), metadata=client.auth)
    forwarded = template.PutTemplateRequest(template=template.Template(name="x"))
    await client.templates.PutTemplate(forwarded, metadata=client.auth)
    here = await refusal(client.notifications.List(pb.ListRequest(), metadata=client.auth))
    there = await refusal(client.templates.PutTemplate(forwarded, metadata=client.auth))

    for refused in (here, there):
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert (refused.metadata["quota"], refused.retry_after) == ("requests_per_second", Limiting.WAIT)


async def test_notifications_over_the_quota_of_the_day_are_refused_one_by_one(quick: Gateway, keyed: Make) -> None:
    key = await keyed(KeyLimits((), None, 3))
    client = await key.client(quick)
    await known_limits(quick, client)

    results = await client.batch([notification() for _ in range(4)] + [notification(category="NO")])
    alone = await refusal(client.send(notification()))

    assert [result.WhichOneof("result") for result in results] == ["accepted"] * 3 + ["error"] * 2
    assert (alone.reason, alone.metadata["quota"]) == ("QUOTA_EXCEEDED", "notifications_per_day")
    assert await client.stored() >= 3


async def test_without_the_rate_limiter_quotas_hold_at_each_gateway(quick: Gateway, peers: Peers, keyed: Make) -> None:
    key = await keyed(KeyLimits((), 1_000, 2))
    client = await key.client(quick)
    await known_limits(quick, client)
    peers.limiting.away = True
    try:
        results = await client.batch([notification() for _ in range(3)])
    finally:
        peers.limiting.away = False
        await asyncio.wait_for(asyncio.shield(_asked_again(peers, client)), 10)

    assert [result.WhichOneof("result") for result in results] == ["accepted", "accepted", "error"]


async def _asked_again(peers: Peers, client: Client) -> None:
    """Until the gateway asks the rate limiter again: other tests count there."""
    peers.limiting.taken.clear()

    async def asked() -> bool:
        await client.notifications.List(pb.ListRequest(), metadata=client.auth)
        return bool(peers.limiting.taken)

    await eventually(asked, seconds=quotas.TRY_AGAIN_SECONDS * 5)


# ---------------------------------------------------------------- what administrators see and may say


async def test_key_shows_its_limits_and_its_last_use(gateway: Gateway, keyed: Make) -> None:
    key, operator = await keyed(), await gateway.app("admin")
    made = await operator.apps.CreateKey(
        app.CreateKeyRequest(
            app=key.owner.app,
            scopes=["send:sms"],
            networks=app.Networks(cidrs=["192.0.2.0/24", "2001:db8::/32", "192.0.2.0/24"]),
            quotas=app.Quotas(requests_per_second=5),
        ),
        metadata=operator.auth,
    )
    uses = KeyUses(gateway.pool)
    uses.note(made.key.app_key)
    await uses.store()

    listed = (await operator.apps.ListKeys(app.ListKeysRequest(app=key.owner.app), metadata=operator.auth)).keys

    newest, oldest = listed
    assert list(newest.networks) == ["192.0.2.0/24", "2001:db8::/32"]
    assert (newest.quotas.requests_per_second, newest.quotas.HasField("notifications_per_day")) == (5, False)
    assert abs(newest.last_used_at.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert not oldest.HasField("last_used_at")
    assert not oldest.HasField("quotas")


async def test_limits_are_replaced_where_given_and_stay_elsewhere(gateway: Gateway, keyed: Make) -> None:
    key, operator = await keyed(KeyLimits((ip_network(HERE),), 5, 10)), await gateway.app("admin")

    async def update(**fields: object) -> app.Key:
        request = app.UpdateKeyRequest(app_key=key.key.app_key, **fields)  # type: ignore[arg-type]
        return (await operator.apps.UpdateKey(request, metadata=operator.auth)).key

    same, free, unlimited = await update(), await update(networks=app.Networks()), await update(quotas=app.Quotas())

    assert (list(same.networks), same.quotas.notifications_per_day) == ([HERE], 10)
    assert (list(free.networks), free.quotas.notifications_per_day) == ([], 10)
    assert (list(unlimited.networks), unlimited.HasField("quotas")) == ([], False)


FAULTY_KEYS: dict[str, tuple[app.CreateKeyRequest, list[str]]] = {
    "unknown scope": (app.CreateKeyRequest(scopes=["send:fax"]), ["scopes"]),
    "no scope": (app.CreateKeyRequest(), ["scopes"]),
    "host bits": (
        app.CreateKeyRequest(scopes=["admin"], networks=app.Networks(cidrs=["192.0.2.1/24"])),
        ["networks.cidrs[0]"],
    ),
    "no network": (
        app.CreateKeyRequest(scopes=["admin"], networks=app.Networks(cidrs=["192.0.2.0/24", "home", ""])),
        ["networks.cidrs[1]", "networks.cidrs[2]"],
    ),
    "too many networks": (
        app.CreateKeyRequest(scopes=["admin"], networks=app.Networks(cidrs=[f"10.{n}.0.0/16" for n in range(65)])),
        ["networks.cidrs"],
    ),
    "quota of nothing": (
        app.CreateKeyRequest(scopes=["admin"], quotas=app.Quotas(requests_per_second=0, notifications_per_day=0)),
        ["quotas.requests_per_second", "quotas.notifications_per_day"],
    ),
    "quota without end": (
        app.CreateKeyRequest(scopes=["admin"], quotas=app.Quotas(requests_per_second=100_001)),
        ["quotas.requests_per_second"],
    ),
}


@pytest.mark.parametrize(("request_", "fields"), FAULTY_KEYS.values(), ids=FAULTY_KEYS.keys())
async def test_faulty_key_is_refused_by_field(
    gateway: Gateway, request_: app.CreateKeyRequest, fields: list[str]
) -> None:
    operator = await gateway.app("admin")
    whole = app.CreateKeyRequest()
    whole.CopyFrom(request_)
    whole.app = operator.app

    refused = await refusal(operator.apps.CreateKey(whole, metadata=operator.auth))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", fields)


@pytest.mark.parametrize("seconds", [-1, 7 * 86_400 + 1, 315_576_000_001])
async def test_grace_of_more_than_a_week_or_less_than_nothing_is_refused(
    gateway: Gateway, keyed: Make, seconds: int
) -> None:
    key = await keyed()
    request = app.RotateKeyRequest(app_key=key.key.app_key, grace=Duration(seconds=seconds))

    refused = await refusal(key.owner.apps.RotateKey(request, metadata=key.owner.auth))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ["grace"])


async def test_key_that_ended_is_neither_rotated_nor_limited(gateway: Gateway, keyed: Make) -> None:
    key = await keyed()
    await app_keys.revoke_key(gateway.pool, key.key.app_key)
    apps, auth_ = key.owner.apps, key.owner.auth

    rotating = await refusal(apps.RotateKey(app.RotateKeyRequest(app_key=key.key.app_key), metadata=auth_))
    limiting = await refusal(apps.UpdateKey(app.UpdateKeyRequest(app_key=key.key.app_key), metadata=auth_))
    unknown = await refusal(apps.RotateKey(app.RotateKeyRequest(app_key="ck_nobody"), metadata=auth_))
    nameless = await refusal(apps.UpdateKey(app.UpdateKeyRequest(), metadata=auth_))

    for refused in (rotating, limiting):
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "KEY_ENDED")
        assert refused.metadata == {"key": key.key.app_key}
    assert (unknown.reason, nameless.reason) == ("APP_NOT_FOUND", "INVALID_FIELD")


async def test_app_takes_countries_and_domains_and_nothing_else(gateway: Gateway) -> None:
    operator = await gateway.app("admin")

    async def update(**fields: object) -> app.App:
        request = app.UpdateAppRequest(app=operator.app, **fields)  # type: ignore[arg-type]
        return (await operator.apps.UpdateApp(request, metadata=operator.auth)).app

    set_ = await update(
        sms_countries=app.Countries(codes=["KR", "DE"]), sender_domains=app.Domains(names=["mail.example.org"])
    )
    same = await update()
    cleared = await update(sms_countries=app.Countries(), sender_domains=app.Domains())
    countries = await refusal(update(sms_countries=app.Countries(codes=["KR", "kr", "XX"])))
    domains = await refusal(
        update(
            sender_domains=app.Domains(names=["a@b.org", "Example.org", "org", "-x.org", "x..org", "x" * 64 + ".org"])
        )
    )

    assert (list(set_.sms_countries), list(set_.sender_domains)) == (["DE", "KR"], ["mail.example.org"])
    assert same == set_
    assert (list(cleared.sms_countries), list(cleared.sender_domains)) == ([], [])
    assert countries.fields == ["sms_countries.codes[1]", "sms_countries.codes[2]"]
    assert domains.fields == [f"sender_domains.names[{place}]" for place in range(6)]


async def test_unknown_app_cannot_be_updated(gateway: Gateway) -> None:
    operator = await gateway.app("admin")

    refused = await refusal(operator.apps.UpdateApp(app.UpdateAppRequest(app="nobody"), metadata=operator.auth))

    assert (refused.reason, refused.metadata) == ("APP_NOT_FOUND", {"app": "nobody"})


async def test_every_method_requires_a_scope_that_keys_can_have() -> None:
    wanted = {method.required_scope for method in mesh.public_methods().values()}

    assert wanted <= SCOPES | {"none", "any", "send"}
    assert {path for path, method in mesh.public_methods().items() if method.required_scope == "none"} == {
        "/clarion.auth.v1.AuthService/IssueToken"
    }


async def test_what_administrators_change_needs_the_scope_admin(gateway: Gateway) -> None:
    client = await gateway.app(*(scope for scope in EVERYTHING if scope != "admin"))

    for call in (
        client.apps.UpdateApp(app.UpdateAppRequest(app=client.app, enabled=False), metadata=client.auth),
        client.apps.RotateKey(app.RotateKeyRequest(app_key="ck_1"), metadata=client.auth),
        client.apps.UpdateKey(app.UpdateKeyRequest(app_key="ck_1"), metadata=client.auth),
    ):
        refused = await refusal(call)
        assert (refused.reason, refused.metadata) == ("SCOPE_MISSING", {"scope": "admin"})
    assert client.app in {row.name for row in await admin.apps(gateway.pool) if row.enabled}
