"""Webhooks at the edge."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from clarion.notification.v1 import notification_service_pb2 as notification_pb
from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, CHANNEL_SMS
from clarion.webhook.v1 import webhook_service_pb2 as pb
from clarion_gateway.rpc import webhooks as rpc

from .gateway_samples import Client, Gateway, eventually, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "https://8.8.8.8/hook"


async def put(client: Client, *, app: str = "", **fields: object) -> pb.PutWebhookResponse:
    given: dict[str, object] = {"name": "orders", "url": URL, "enabled": True, **fields}
    request = pb.PutWebhookRequest(app=app or client.app, webhook=pb.Webhook(**given))  # type: ignore[arg-type]
    answer: pb.PutWebhookResponse = await client.webhooks.PutWebhook(request, metadata=client.auth, timeout=10)
    return answer


async def listed(client: Client) -> Sequence[pb.Webhook]:
    answer: pb.ListWebhooksResponse = await client.webhooks.ListWebhooks(
        pb.ListWebhooksRequest(app=client.app), metadata=client.auth
    )
    return answer.webhooks


async def test_webhook_is_stored_and_its_secret_shown_once(gateway: Gateway) -> None:
    operator = await gateway.app("admin")

    created = await put(
        operator,
        channels=[CHANNEL_EMAIL, CHANNEL_SMS],
        kinds=[notification_pb.EVENT_KIND_TERMINAL],
        categories=["orders"],
    )
    replaced = await put(operator, enabled=False)

    assert created.signing_secret.startswith("whsec_")
    assert replaced.signing_secret == ""
    assert list(created.webhook.channels) == [CHANNEL_SMS, CHANNEL_EMAIL]
    [stored] = await listed(operator)
    assert (stored.name, stored.url, stored.enabled, list(stored.channels)) == ("orders", URL, False, [])
    assert stored.status.reached.ToDatetime(UTC) <= datetime.now(UTC)


async def test_what_is_stored_of_secret_and_url_is_sealed(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    created = await put(operator, url=f"{URL}/canary-in-the-path")

    row = await gateway.pool.fetchrow("SELECT w::text AS text FROM ledger.webhook w WHERE app_id = $1", operator.app_id)

    assert row is not None
    assert b"canary-in-the-path".hex() not in row["text"]
    assert "canary" not in row["text"]
    assert created.signing_secret not in row["text"]


async def test_two_secrets_live_while_one_is_rotated(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    created = await put(operator)
    request = pb.RotateWebhookSecretRequest(app=operator.app, name="orders")
    request.former_valid_for.FromTimedelta(timedelta(hours=2))

    rotated: pb.RotateWebhookSecretResponse = await operator.webhooks.RotateWebhookSecret(
        request, metadata=operator.auth
    )

    assert rotated.signing_secret not in ("", created.signing_secret)
    ends_in = rotated.former_ends_at.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(minutes=119) < ends_in <= timedelta(hours=2)
    assert await gateway.pool.fetchval(
        "SELECT former_secret IS NOT NULL FROM ledger.webhook WHERE app_id = $1", operator.app_id
    )


@pytest.mark.parametrize("seconds", [-1, 7 * 86_400 + 1, 2**62])
async def test_former_secret_ends_within_a_week(gateway: Gateway, seconds: int) -> None:
    operator = await gateway.app("admin")
    await put(operator)
    request = pb.RotateWebhookSecretRequest(app=operator.app, name="orders")
    request.former_valid_for.seconds = seconds

    refused = await refusal(operator.webhooks.RotateWebhookSecret(request, metadata=operator.auth))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ["former_valid_for"])


async def test_deleting_is_idempotent_and_leaves_nothing(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    await put(operator)
    request = pb.DeleteWebhookRequest(app=operator.app, name="orders")

    for _ in range(2):
        await operator.webhooks.DeleteWebhook(request, metadata=operator.auth)

    assert list(await listed(operator)) == []
    for table in ("webhook", "webhook_progress", "webhook_failure", "webhook_test"):
        assert not await gateway.pool.fetchval(
            f"SELECT count(*) FROM ledger.{table} WHERE app_id = $1", operator.app_id
        )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://8.8.8.8/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.8:8443/",
        "https://localhost/",
        "https://user:pw@8.8.8.8/",
        "https://8.8.8.8/#x",
        "https://8.8.8.8/ x",
        "https://8.8.8.8/" + "a" * 2_048,
    ],
)
async def test_url_that_is_not_https_of_a_public_host_is_refused(gateway: Gateway, url: str) -> None:
    operator = await gateway.app("admin")

    refused = await refusal(put(operator, url=url))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ["webhook.url"])
    assert list(await listed(operator)) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "No Name"}, "webhook.name"),
        ({"name": ""}, "webhook.name"),
        ({"kinds": [0]}, "webhook.kinds"),
        ({"kinds": [77]}, "webhook.kinds"),
        ({"channels": [77]}, "webhook.channels"),
        ({"categories": ["No Name"]}, "webhook.categories"),
        ({"categories": [f"c{n}" for n in range(51)]}, "webhook.categories"),
    ],
)
async def test_faulty_webhook_is_refused(gateway: Gateway, fields: dict[str, object], field: str) -> None:
    operator = await gateway.app("admin")

    assert (await refusal(put(operator, app="", **fields))).fields == [field]


async def test_app_has_a_bounded_number_of_webhooks(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    for number in range(20):
        await put(operator, name=f"w{number}")

    refused = await refusal(put(operator, name="w20"))
    replaced = await put(operator, name="w7", enabled=False)

    assert refused.fields == ["webhook"]
    assert not replaced.webhook.enabled


async def test_webhooks_need_the_scope_admin_a_known_app_and_a_known_name(gateway: Gateway) -> None:
    sender, operator = await gateway.app("send:sms", "status:read"), await gateway.app("admin")
    service = operator.webhooks

    assert (await refusal(put(sender))).reason == "SCOPE_MISSING"
    assert (await refusal(put(operator, app="nobody"))).reason == "APP_NOT_FOUND"
    for call in (
        service.RotateWebhookSecret(
            pb.RotateWebhookSecretRequest(app=operator.app, name="nobody"), metadata=operator.auth
        ),
        service.TestWebhook(pb.TestWebhookRequest(app=operator.app, name="nobody"), metadata=operator.auth),
        service.ListWebhookFailures(
            pb.ListWebhookFailuresRequest(app=operator.app, name="nobody"), metadata=operator.auth
        ),
    ):
        refused = await refusal(call)
        assert (refused.reason, refused.metadata) == ("WEBHOOK_NOT_FOUND", {"name": "nobody"})


async def test_sample_is_posted_by_a_tracker_and_its_answer_shown(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    await put(operator)
    request = pb.TestWebhookRequest(app=operator.app, name="orders")
    asking = operator.webhooks.TestWebhook(request, metadata=operator.auth, timeout=10)

    async def answered() -> bool:
        return bool(
            await gateway.pool.fetchval(
                """UPDATE ledger.webhook_test SET answered_at = now(), status = 503, error = 'HTTP 503', duration_ms = 12
                   WHERE app_id = $1 RETURNING true""",
                operator.app_id,
            )
        )

    await eventually(answered)

    answer: pb.TestWebhookResponse = await asking
    assert answer == pb.TestWebhookResponse(delivered=False, http_status=503, error="HTTP 503", duration_ms=12)


async def test_sample_that_no_tracker_takes_is_given_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "TEST_PATIENCE", timedelta(milliseconds=150))
    operator = await gateway.app("admin")
    await put(operator)
    request = pb.TestWebhookRequest(app=operator.app, name="orders")

    refused = await refusal(operator.webhooks.TestWebhook(request, metadata=operator.auth, timeout=10))

    assert (refused.reason, refused.metadata) == ("DEPENDENCY_UNAVAILABLE", {"dependency": "tracker"})


async def test_failed_tries_are_listed(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    await put(operator)
    await gateway.pool.execute(
        """INSERT INTO ledger.webhook_failure (webhook_id, app_id, changes, attempt, status, message_id, error)
           SELECT webhook_id, app_id, 3, n, 0, 'msg_1', 'timeout' FROM ledger.webhook, generate_series(1, 2) n WHERE app_id = $1""",
        operator.app_id,
    )

    answer: pb.ListWebhookFailuresResponse = await operator.webhooks.ListWebhookFailures(
        pb.ListWebhookFailuresRequest(app=operator.app, name="orders"), metadata=operator.auth
    )

    assert [(one.attempt, one.changes, one.error, one.message_id) for one in answer.failures] == [
        (2, 3, "timeout", "msg_1"),
        (1, 3, "timeout", "msg_1"),
    ]
