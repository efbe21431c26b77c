"""AuditLogService: what administrators read of what administrators did."""

import json
from uuid import uuid4

import pytest

from clarion.app.v1 import app_service_pb2 as app
from clarion.auditlog.v1 import audit_log_service_pb2 as pb
from clarion.provider.v1 import provider_service_pb2 as provider

from .gateway_samples import Client, Gateway, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def page(client: Client, **fields: object) -> pb.ListAuditLogResponse:
    request = pb.ListAuditLogRequest(**fields)  # type: ignore[arg-type]
    return await client.audit_log.ListAuditLog(request, metadata=client.auth)


async def acts(client: Client, count: int) -> str:
    """A new app, and so many acts on it in all."""
    name = f"told-{uuid4().hex[:8]}"
    await client.apps.CreateApp(app.CreateAppRequest(name=name), metadata=client.auth)
    for number in range(count - 1):
        request = app.UpdateAppRequest(app=name, enabled=bool(number % 2))
        await client.apps.UpdateApp(request, metadata=client.auth)
    return name


async def test_act_tells_who_did_what_to_what(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    name = await acts(operator, 2)

    newest, oldest = (await page(operator, app=name)).entries

    assert (oldest.act, newest.act, newest.target, newest.app) == ("CreateApp", "UpdateApp", f"app {name}", name)
    assert (newest.actor_app_id, newest.actor_key) == (operator.app_id, f"key-{operator.app_id}")
    assert (json.loads(newest.before)["enabled"], json.loads(newest.after)["enabled"]) == (True, False)
    assert len(newest.hash) == 32


async def test_log_is_read_page_by_page_in_both_directions(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    name = await acts(operator, 5)

    backward = [await page(operator, app=name, page_size=2)]
    while backward[-1].more:
        backward.append(await page(operator, app=name, page_size=2, before=backward[-1].entries[-1].seq))
    forward = [await page(operator, app=name, page_size=2, after=0)]
    while forward[-1].more:
        forward.append(await page(operator, app=name, page_size=2, after=forward[-1].entries[-1].seq))

    newest_first = [entry.seq for one in backward for entry in one.entries]
    assert [len(one.entries) for one in backward] == [2, 2, 1]
    assert newest_first == sorted(newest_first, reverse=True)
    assert [entry.seq for one in forward for entry in one.entries] == newest_first[::-1]
    assert forward[-1].head.seq >= newest_first[0]


async def test_refused_act_is_not_in_the_log(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    name = await acts(operator, 1)

    await refusal(operator.apps.CreateApp(app.CreateAppRequest(name=name), metadata=operator.auth))

    assert [entry.act for entry in (await page(operator, app=name)).entries] == ["CreateApp"]


async def test_credentials_of_an_account_are_not_in_the_log(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    settings = json.dumps({"api_key": "SG.hunter2", "from_address": "shop@example.org"}).encode()
    request = provider.PutProviderRequest(
        app=operator.app, provider=provider.Provider(name="mail", kind="sendgrid", enabled=True), settings=settings
    )
    await operator.providers.PutProvider(request, metadata=operator.auth)

    newest, *_ = (await page(operator, app=operator.app)).entries

    assert (newest.act, newest.target) == ("PutProvider", "provider mail")
    assert json.loads(newest.after)["settings"] == ["api_key", "from_address"]
    assert "hunter2" not in str(newest)
    assert "shop@" not in str(newest)


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"page_size": 501}, "page_size"),
        ({"before": 5, "after": 1}, "before"),
        ({"before": 1 << 63}, "before"),
        ({"after": (1 << 64) - 1}, "after"),
        ({"app": "Not a name"}, "app"),
    ],
)
async def test_faulty_page_is_refused_by_field(gateway: Gateway, fields: dict[str, object], faulty: str) -> None:
    operator = await gateway.app("admin")

    refused = await refusal(page(operator, **fields))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", [faulty])


async def test_log_needs_the_scope_admin_and_a_known_app(gateway: Gateway) -> None:
    operator, client = await gateway.app("admin"), await gateway.app("status:read")

    assert (await refusal(page(client))).reason == "SCOPE_MISSING"
    assert (await refusal(page(operator, app="nobody"))).reason == "APP_NOT_FOUND"
