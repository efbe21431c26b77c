"""Administration: apps and keys, categories, provider accounts, routes."""

import json
from datetime import timedelta
from typing import cast
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.app.v1 import app_service_pb2 as app
from clarion.category.v1 import category_service_pb2 as category
from clarion.provider.v1 import provider_service_pb2 as provider
from clarion.routing.v1 import routing_service_pb2 as routing
from clarion.types.v1.channel_pb2 import Channel
from clarion_ledger import admin
from clarion_ledger.keys import KeyRing

from .gateway_samples import Client, Gateway, notification, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

SMTP = {"host": "mail.example.org", "port": 587, "from_address": "shop@example.org"}


async def put_provider(client: Client, **changed: object) -> provider.PutProviderResponse:
    fields = {"app": client.app, "name": "mail", "kind": "smtp", "settings": SMTP, **changed}
    settings = fields["settings"]
    request = provider.PutProviderRequest(
        app=str(fields["app"]),
        provider=provider.Provider(name=str(fields["name"]), kind=str(fields["kind"]), enabled=True),
        settings=settings if isinstance(settings, bytes) else json.dumps(settings).encode(),
    )
    return await client.providers.PutProvider(request, metadata=client.auth)


async def put_routes(
    client: Client, *routes: routing.Route, channel: Channel.ValueType = Channel.CHANNEL_EMAIL
) -> routing.PutRoutesResponse:
    request = routing.PutRoutesRequest(app=client.app, channel=channel, routes=routes)
    return await client.routing.PutRoutes(request, metadata=client.auth)


async def test_new_app_has_categories_and_a_key_that_sends(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    name = f"shop-{uuid4().hex[:8]}"

    created = await operator.apps.CreateApp(app.CreateAppRequest(name=name), metadata=operator.auth)
    made = await operator.apps.CreateKey(app.CreateKeyRequest(app=name, scopes=["send:*"]), metadata=operator.auth)
    keys = await operator.apps.ListKeys(app.ListKeysRequest(app=name), metadata=operator.auth)
    apps = await operator.apps.ListApps(app.ListAppsRequest(), metadata=operator.auth)

    assert (created.app.name, created.app.enabled) == (name, True)
    assert made.app_secret.startswith("cs_")
    assert [key.app_key for key in keys.keys] == [made.key.app_key]
    assert name in [found.name for found in apps.apps]


async def test_name_of_an_app_is_taken_once(gateway: Gateway) -> None:
    operator = await gateway.app("admin")

    refused = await refusal(operator.apps.CreateApp(app.CreateAppRequest(name=operator.app), metadata=operator.auth))

    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN")


async def test_unknown_app_is_named_and_a_faulty_name_is_refused(gateway: Gateway) -> None:
    c = await gateway.app("admin")
    for name, reason in (("nobody", "APP_NOT_FOUND"), ("a\0b", "INVALID_FIELD"), ("", "INVALID_FIELD")):
        for call in (
            c.apps.ListKeys(app.ListKeysRequest(app=name), metadata=c.auth),
            c.apps.CreateKey(app.CreateKeyRequest(app=name, scopes=["admin"]), metadata=c.auth),
            c.providers.ListProviders(provider.ListProvidersRequest(app=name), metadata=c.auth),
            c.routing.ListRoutes(routing.ListRoutesRequest(app=name), metadata=c.auth),
            c.routing.PutRoutes(routing.PutRoutesRequest(app=name, channel=Channel.CHANNEL_SMS), metadata=c.auth),
            put_provider(c, app=name),
        ):
            assert (await refusal(call)).reason == reason


@pytest.mark.parametrize(
    ("key", "reason"), [("ck_nobody", "APP_NOT_FOUND"), ("a\0", "INVALID_FIELD"), ("", "INVALID_FIELD")]
)
async def test_revoking_what_is_no_key_is_refused(gateway: Gateway, key: str, reason: str) -> None:
    operator = await gateway.app("admin")

    refused = await refusal(operator.apps.RevokeKey(app.RevokeKeyRequest(app_key=key), metadata=operator.auth))

    assert refused.reason == reason


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (app.CreateKeyRequest(scopes=[]), "scopes"),
        (app.CreateKeyRequest(scopes=["send:fax"]), "scopes"),
        (app.CreateKeyRequest(scopes=["admin"], expires_at=Timestamp(seconds=1)), "expires_at"),
        (app.CreateKeyRequest(scopes=["admin"], expires_at=Timestamp(seconds=10**15)), "expires_at"),
    ],
)
async def test_faulty_key_is_refused(gateway: Gateway, request_: app.CreateKeyRequest, field: str) -> None:
    operator = await gateway.app("admin")
    request_.app = operator.app

    assert (await refusal(operator.apps.CreateKey(request_, metadata=operator.auth))).fields == [field]


async def test_category_is_stored_with_its_defaults_and_used_at_once(gateway: Gateway) -> None:
    client = await gateway.app()
    wanted = category.Category(name="news", caps=[category.Cap(limit=3, window=Duration(seconds=60))])

    stored = await client.categories.PutCategory(category.PutCategoryRequest(category=wanted), metadata=client.auth)
    listed = await client.categories.ListCategories(category.ListCategoriesRequest(), metadata=client.auth)

    assert stored.category.time_to_live.ToTimedelta() == timedelta(hours=24)
    assert stored.category.max_attempts == 8
    assert [one.name for one in listed.categories] == ["marketing", "news", "security", "transactional"]
    assert (await client.send(notification(category="news"))).notification_id


async def test_digest_key_is_taken_where_the_category_has_a_window(gateway: Gateway) -> None:
    client = await gateway.app()
    wanted = category.Category(
        name="likes",
        digest_window=Duration(seconds=600),
        quiet_hours_action=category.GATE_ACTION_DEFER,
        caps=[category.Cap(limit=3, period=category.CAP_PERIOD_DAY, shadow=True, scope=category.CAP_SCOPE_APP)],
    )

    await client.categories.PutCategory(category.PutCategoryRequest(category=wanted), metadata=client.auth)

    assert (await client.send(notification(category="likes", digest_key="post-7"))).notification_id


@pytest.mark.parametrize(
    ("faulty", "field"),
    [
        (category.Category(name="No"), "name"),
        (category.Category(name="n", guarantee=cast("category.Guarantee.ValueType", 9)), "guarantee"),
        (category.Category(name="n", channels=[cast("Channel.ValueType", 9)]), "channels"),
        (category.Category(name="n", max_attempts=51), "max_attempts"),
        (category.Category(name="n", time_to_live=Duration()), "time_to_live"),
        (category.Category(name="n", time_to_live=Duration(seconds=31 * 86_400)), "time_to_live"),
        (category.Category(name="n", time_to_live=Duration(seconds=10**18)), "time_to_live"),
        (category.Category(name="n", cap_action=cast("category.GateAction.ValueType", 9)), "cap_action"),
        (
            category.Category(name="n", quiet_hours_action=cast("category.GateAction.ValueType", 9)),
            "quiet_hours_action",
        ),
        (category.Category(name="n", digest_window=Duration()), "digest_window"),
        (category.Category(name="n", dedupe_window=Duration(seconds=8 * 86_400)), "dedupe_window"),
        (
            category.Category(
                name="n",
                caps=[category.Cap(limit=1, window=Duration(seconds=1), period=category.CAP_PERIOD_DAY)],
            ),
            "caps[0].window",
        ),
        (category.Category(name="n", caps=[category.Cap(limit=1)]), "caps[0].window"),
        (
            category.Category(name="n", caps=[category.Cap(limit=1, period=cast("category.CapPeriod.ValueType", 9))]),
            "caps[0].period",
        ),
        (category.Category(name="n", caps=[category.Cap(limit=0, window=Duration(seconds=1))]), "caps[0].limit"),
        (
            category.Category(name="n", caps=[category.Cap(limit=1, window=Duration(seconds=-(10**18)))]),
            "caps[0].window",
        ),
        (
            category.Category(name="n", caps=[category.Cap(limit=1, window=Duration(seconds=1)) for _ in range(9)]),
            "caps",
        ),
    ],
)
async def test_faulty_category_is_refused(gateway: Gateway, faulty: category.Category, field: str) -> None:
    client = await gateway.app()

    refused = await refusal(
        client.categories.PutCategory(category.PutCategoryRequest(category=faulty), metadata=client.auth)
    )

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", [f"category.{field}"])


async def test_provider_account_is_sealed_and_its_settings_are_never_shown(gateway: Gateway) -> None:
    client = await gateway.app()
    settings = {**SMTP, "username": "shop", "password": "hunter2hunter2"}

    stored = await put_provider(client, settings=settings)
    listed = await client.providers.ListProviders(provider.ListProvidersRequest(app=client.app), metadata=client.auth)

    assert list(listed.providers) == [stored.provider]
    assert stored.provider.channel == Channel.CHANNEL_EMAIL
    [lane] = await admin.lanes(gateway.pool, client.app_id)
    assert b"hunter2" not in lane.settings
    sealer = await KeyRing(gateway.pool, gateway.kek).sealer(client.app_id)
    assert json.loads(sealer.open("lane", b"mail", "settings", lane.settings)) == settings


async def test_provider_kind_that_is_not_installed_is_refused(gateway: Gateway) -> None:
    client = await gateway.app()

    refused = await refusal(put_provider(client, kind="pigeon"))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PROVIDER_NOT_FOUND")
    assert refused.metadata == {"provider": "pigeon"}


async def test_every_fault_of_provider_settings_is_named_without_their_secrets(gateway: Gateway) -> None:
    client = await gateway.app()
    faulty = {"port": "hunter2", "from_address": 7, "password": ["hunter2"], "colour": "hunter2"}

    refused = await refusal(put_provider(client, settings=faulty))

    assert refused.reason == "PROVIDER_SETTINGS_INVALID"
    for name in ("host", "port", "from_address", "password", "colour"):
        assert name in refused.metadata["faults"]
    assert "hunter2" not in refused.message + str(refused.metadata)
    assert not await admin.lanes(gateway.pool, client.app_id)


@pytest.mark.parametrize("settings", [b"", b"x" * (32 << 10) + b"x", b"not json", b"[]", b"\xff"])
async def test_settings_that_are_no_document_are_refused(gateway: Gateway, settings: bytes) -> None:
    client = await gateway.app()

    refused = await refusal(put_provider(client, settings=settings))

    assert refused.reason in ("INVALID_FIELD", "PROVIDER_SETTINGS_INVALID")


async def test_routes_are_stored_and_replaced(gateway: Gateway) -> None:
    client = await gateway.app()
    await put_provider(client)
    target = routing.Target(provider="mail", weight=100)

    await put_routes(client, routing.Route(country="DE", targets=[target]), routing.Route(targets=[target]))
    await put_routes(client, routing.Route(targets=[target]))
    every = await client.routing.ListRoutes(routing.ListRoutesRequest(app=client.app), metadata=client.auth)
    sms = await client.routing.ListRoutes(
        routing.ListRoutesRequest(app=client.app, channel=Channel.CHANNEL_SMS), metadata=client.auth
    )

    assert [len(routes.routes) for routes in every.routes] == [1]
    assert not sms.routes


async def test_route_to_a_provider_of_no_or_another_channel_is_refused(gateway: Gateway) -> None:
    client = await gateway.app()
    await put_provider(client)

    unknown = await refusal(put_routes(client, routing.Route(targets=[routing.Target(provider="post")])))
    wrong = await refusal(
        put_routes(client, routing.Route(targets=[routing.Target(provider="mail")]), channel=Channel.CHANNEL_SMS)
    )

    assert (unknown.reason, unknown.metadata) == ("PROVIDER_NOT_FOUND", {"provider": "post"})
    assert wrong.reason == "PROVIDER_NOT_FOUND"


@pytest.mark.parametrize(
    ("route", "field"),
    [
        (routing.Route(targets=[]), "routes[0].targets"),
        (routing.Route(country="de", targets=[routing.Target(provider="mail")]), "routes[0].country"),
        (routing.Route(locale="x" * 36, targets=[routing.Target(provider="mail")]), "routes[0].locale"),
        (routing.Route(targets=[routing.Target(provider="mail", weight=101)]), "routes[0].targets[0].weight"),
        (routing.Route(targets=[routing.Target(provider="x" * 20_000)]), "routes[0].targets[0].provider"),
        (routing.Route(targets=[routing.Target(provider="mail")], by_receipts=True), "routes[0].by_receipts"),
    ],
)
async def test_faulty_route_is_refused(gateway: Gateway, route: routing.Route, field: str) -> None:
    client = await gateway.app()

    assert (await refusal(put_routes(client, route))).fields == [field]


async def test_route_of_an_unknown_country_or_given_twice_is_refused(gateway: Gateway) -> None:
    client = await gateway.app()
    await put_provider(client)
    targets = [routing.Target(provider="mail")]

    unknown = await refusal(put_routes(client, routing.Route(country="XX", targets=targets)))
    twice = await refusal(
        put_routes(
            client,
            routing.Route(country="DE", locale="de", targets=targets),
            routing.Route(country="DE", targets=targets),
            routing.Route(country="DE", locale="DE", targets=targets),
        )
    )

    assert unknown.fields == ["routes[0].country"]
    assert twice.fields == ["routes[2].country"]


async def test_account_cannot_change_its_channel(gateway: Gateway) -> None:
    client = await gateway.app()
    await put_provider(client)

    refused = await refusal(
        put_provider(client, kind="smpp", settings={"host": "smsc.example", "system_id": "shop", "source": "Shop"})
    )

    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN")


async def test_ca_file_that_is_not_there_is_a_fault_of_the_settings(gateway: Gateway) -> None:
    client = await gateway.app()
    key = {"api_key": "SG.key", "from_address": "shop@example.org", "ca_file": "/nowhere/ca.pem"}

    for kind, settings in (("smtp", {**SMTP, "ca_file": "/nowhere/ca.pem"}), ("sendgrid", key)):
        refused = await refusal(put_provider(client, kind=kind, settings=settings))
        assert (refused.reason, refused.metadata["provider"]) == ("PROVIDER_SETTINGS_INVALID", kind)


@pytest.mark.parametrize(
    ("sender", "good"),
    [("shop@example.org", True), ("shop@news.example.org", True), ("shop@example.com", False)],
)
async def test_mail_account_sends_from_the_domains_of_its_app(gateway: Gateway, sender: str, good: bool) -> None:
    client = await gateway.app()
    domains = app.Domains(names=["example.org"])
    await client.apps.UpdateApp(app.UpdateAppRequest(app=client.app, sender_domains=domains), metadata=client.auth)
    putting = put_provider(client, settings={**SMTP, "from_address": sender})

    if good:
        assert (await putting).provider.name == "mail"
        return
    refused = await refusal(putting)
    assert refused.reason == "PROVIDER_SETTINGS_INVALID"
    assert "example.org" in refused.metadata["faults"]


# ---------------------------------------------------------------- deleting accounts


async def delete_provider(client: Client, name: str = "mail", app_name: str = "") -> provider.DeleteProviderResponse:
    request = provider.DeleteProviderRequest(app=app_name or client.app, name=name)
    return await client.providers.DeleteProvider(request, metadata=client.auth)


async def test_deleted_account_is_listed_no_more_and_its_name_is_free(gateway: Gateway) -> None:
    client = await gateway.app()
    await put_provider(client)
    await client.providers.StopProvider(provider.StopProviderRequest(app=client.app, name="mail"), metadata=client.auth)
    await put_routes(client, routing.Route(targets=[routing.Target(provider="mail")]))

    await delete_provider(client)
    await delete_provider(client)
    gone = await client.providers.ListProviders(provider.ListProvidersRequest(app=client.app), metadata=client.auth)
    again = await put_provider(client)
    listed = await client.providers.ListProviders(provider.ListProvidersRequest(app=client.app), metadata=client.auth)
    routes = await client.routing.ListRoutes(routing.ListRoutesRequest(app=client.app), metadata=client.auth)

    assert not gone.providers
    assert list(listed.providers) == [again.provider]
    assert [list(route.targets) for channel in routes.routes for route in channel.routes] == [[]]


async def test_account_that_never_was_cannot_be_deleted(gateway: Gateway) -> None:
    client, other = await gateway.app(), await gateway.app()
    await put_provider(other)

    for name, app_name, reason in (
        ("mail", client.app, "PROVIDER_NOT_FOUND"),
        ("mail", "nobody", "APP_NOT_FOUND"),
        ("mail~1", client.app, "INVALID_FIELD"),
        ("", client.app, "INVALID_FIELD"),
    ):
        assert (await refusal(delete_provider(client, name, app_name))).reason == reason
    assert len(await admin.lanes(gateway.pool, other.app_id)) == 1


async def test_deleted_account_keeps_what_proves_its_callbacks_and_no_credentials(gateway: Gateway) -> None:
    client = await gateway.app()
    key = {"api_key": "SG.hunter2", "from_address": "shop@example.org", "webhook_public_key": "MFkw"}
    await put_provider(client, kind="sendgrid", settings=key)

    await delete_provider(client)

    row = await gateway.pool.fetchrow(
        "SELECT name, settings FROM ledger.lane WHERE app_id = $1 AND deleted_at IS NOT NULL", client.app_id
    )
    assert row is not None
    sealer = await KeyRing(gateway.pool, gateway.kek).sealer(client.app_id)
    assert json.loads(sealer.open("lane", row["name"].encode(), "settings", row["settings"])) == {
        "webhook_public_key": "MFkw"
    }
