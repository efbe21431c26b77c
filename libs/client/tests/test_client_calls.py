"""Unary calls of the async client against a real server."""

import asyncio
import logging
from datetime import timedelta

import grpc
import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import (
    AlreadyExists,
    AsyncClient,
    Cancelled,
    ClarionError,
    DeadlineExceeded,
    FieldFault,
    InvalidArgument,
    ResourceExhausted,
    RetryPolicy,
    Sent,
    Unauthenticated,
    Unavailable,
)

from .scripted_gateway import APP_KEY, APP_SECRET, UNAVAILABLE, Context, Gateway, refuse, refuse_with, status


async def send(client: AsyncClient, *, trace: bool = False) -> Sent:
    return await client.send(recipients=["u1"], category="orders", template="shipped", event_id="e1", trace=trace)


async def hang(context: Context) -> None:
    await asyncio.Event().wait()


async def test_send_returns_what_the_server_accepted(client: AsyncClient, gateway: Gateway) -> None:
    accepted = await client.send(recipients=["u1"], category="orders", template="shipped", event_id="e1", data={"n": 1})

    assert accepted == Sent("e1", "n-e1", duplicate=False)
    assert gateway.notifications[0].template.data["n"] == 1


async def test_lost_connection_is_retried_with_the_same_event_id(client: AsyncClient, gateway: Gateway) -> None:
    gateway.steps.extend([UNAVAILABLE, UNAVAILABLE])

    accepted = await client.send(recipients=["u1"], category="orders", template="shipped")

    sent_ids = [notification.event_id for notification in gateway.notifications]
    assert sent_ids == [accepted.event_id] * 3
    assert accepted.event_id


async def test_retries_end_with_the_last_error(client: AsyncClient, gateway: Gateway) -> None:
    gateway.steps.extend([UNAVAILABLE] * 10)

    with pytest.raises(Unavailable, match="try again"):
        await send(client)

    assert len(gateway.requests) == 4


@pytest.mark.parametrize("reason", ["OVERLOADED", "STORAGE_FULL", ""])
async def test_overload_is_retried(client: AsyncClient, gateway: Gateway, reason: str) -> None:
    gateway.steps.append(refuse_with(status(grpc.StatusCode.RESOURCE_EXHAUSTED, "later", reason=reason)))

    assert (await send(client)).notification_id == "n-e1"
    assert len(gateway.requests) == 2


async def test_too_large_is_refused_before_it_is_sent(client: AsyncClient, gateway: Gateway) -> None:
    notification = pb.Notification(event_id="e", recipient_ids=["u"], category="c")
    notification.content.mail.html = "x" * (1 << 20)

    with pytest.raises(ResourceExhausted) as refused:
        await client.send(notification)

    assert (refused.value.reason, refused.value.metadata) == ("TOO_LARGE", {"limit_bytes": "1048576"})
    assert gateway.requests == []


async def test_call_that_is_not_idempotent_is_not_repeated(client: AsyncClient, gateway: Gateway) -> None:
    gateway.steps.append(UNAVAILABLE)

    with pytest.raises(Unavailable):
        await client.apps.create("shop")

    assert len(gateway.requests) == 1


async def test_deadline_covers_all_attempts(client: AsyncClient, gateway: Gateway) -> None:
    await send(client)
    gateway.steps.extend([UNAVAILABLE, hang])

    with pytest.raises(DeadlineExceeded):
        await send(client.with_timeout(timedelta(milliseconds=500)))

    assert len(gateway.requests) == 3


async def test_field_faults_and_reason_reach_the_caller(client: AsyncClient, gateway: Gateway) -> None:
    refusal = status(
        grpc.StatusCode.INVALID_ARGUMENT,
        "category: required",
        reason="INVALID_FIELD",
        metadata={"trace_id": "ab" * 16},
        faults=[("notification.category", "required")],
    )
    gateway.steps.append(refuse_with(refusal))

    with pytest.raises(InvalidArgument) as refused:
        await send(client)

    error = refused.value
    assert (error.reason, error.message, error.trace_id) == ("INVALID_FIELD", "category: required", "ab" * 16)
    assert error.field_faults == (FieldFault("notification.category", "required"),)
    assert not error.retryable


@pytest.mark.parametrize("details", [None, b"\xff not a status", b""])
async def test_error_of_another_server_keeps_code_and_message(
    client: AsyncClient, gateway: Gateway, details: bytes | None
) -> None:
    gateway.steps.append(refuse(grpc.StatusCode.ALREADY_EXISTS, "from a proxy", details))

    with pytest.raises(AlreadyExists) as refused:
        await send(client)

    assert (refused.value.reason, refused.value.message) == ("", "from a proxy")


async def test_reason_of_another_domain_is_not_ours(client: AsyncClient, gateway: Gateway) -> None:
    foreign = status(grpc.StatusCode.ALREADY_EXISTS, "x", reason="EVENT_ID_REUSED", domain="example.com")
    gateway.steps.append(refuse_with(foreign))

    with pytest.raises(AlreadyExists) as refused:
        await send(client)

    assert refused.value.reason == ""


async def test_many_first_calls_share_one_token(client: AsyncClient, gateway: Gateway) -> None:
    await asyncio.gather(*(send(client) for _ in range(50)))

    assert gateway.tokens_issued == 1
    assert {metadata["authorization"] for metadata in gateway.metadata} == {"Bearer token-1"}


async def test_refused_token_is_renewed_once_for_all_calls(client: AsyncClient, gateway: Gateway) -> None:
    await send(client)
    gateway.valid_tokens.clear()

    await asyncio.gather(*(send(client) for _ in range(20)))

    assert gateway.tokens_issued == 2


async def test_token_that_is_refused_again_is_an_error(client: AsyncClient, gateway: Gateway) -> None:
    refusal = refuse_with(status(grpc.StatusCode.UNAUTHENTICATED, "no", reason="UNAUTHENTICATED"))
    gateway.steps.extend([refusal, refusal])

    with pytest.raises(Unauthenticated):
        await send(client)

    assert gateway.tokens_issued == 2


async def test_refused_token_is_renewed_also_for_a_call_that_is_not_idempotent(
    client: AsyncClient, gateway: Gateway
) -> None:
    await send(client)
    gateway.valid_tokens.clear()

    created = await client.apps.create("shop")

    assert created.app.name == "shop"


async def test_wrong_secret_is_asked_once(gateway: Gateway, quick_retry: RetryPolicy) -> None:
    async with AsyncClient.connect(gateway.target, APP_KEY, "wrong", ca_file=gateway.ca, retry=quick_retry) as client:
        with pytest.raises(Unauthenticated):
            await send(client)

    assert gateway.tokens_issued == 1
    assert gateway.requests == []


async def test_issuing_a_token_is_retried(client: AsyncClient, gateway: Gateway) -> None:
    gateway.token_steps.append(UNAVAILABLE)

    await send(client)

    assert gateway.tokens_issued == 2


async def test_waiting_for_a_token_ends_with_the_callers_deadline_and_serves_the_others(
    client: AsyncClient, gateway: Gateway
) -> None:
    may_issue = asyncio.Event()

    async def wait(context: Context) -> None:
        await may_issue.wait()

    gateway.token_steps.append(wait)
    patient = asyncio.ensure_future(send(client))

    with pytest.raises(DeadlineExceeded):
        await send(client.with_timeout(timedelta(milliseconds=50)))
    may_issue.set()

    assert (await patient).notification_id == "n-e1"
    assert gateway.tokens_issued == 1


async def test_list_gives_every_page(client: AsyncClient) -> None:
    ids = [view.notification_id async for view in client.list(page_size=2)]

    assert ids == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]


async def test_get_and_cancel_pass_the_id(client: AsyncClient, gateway: Gateway) -> None:
    found = await client.get("n1")
    cancelled = await client.cancel("n1")

    assert found.notification.notification_id == "n1"
    assert cancelled.cancelled_deliveries == 1
    assert gateway.requests[1] == pb.CancelRequest(notification_id="n1")


async def test_forced_trace_is_sampled_and_named_in_the_result(client: AsyncClient, gateway: Gateway) -> None:
    plain = await send(client)
    traced = await send(client, trace=True)

    assert plain.trace_id == ""
    assert "traceparent" not in gateway.metadata[0]
    version, trace_id, _, flags = gateway.metadata[1]["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", traced.trace_id, "01")


async def test_close_waits_for_a_call_only_as_long_as_its_grace(client: AsyncClient, gateway: Gateway) -> None:
    gateway.steps.append(hang)
    sending = asyncio.ensure_future(send(client))
    await gateway.wait_for_requests(1)

    async with asyncio.timeout(3):
        await client.close(timedelta(milliseconds=50))

    with pytest.raises(Cancelled):
        await sending
    with pytest.raises(RuntimeError, match="closed"):
        await send(client)


async def test_close_ends_the_wait_for_a_token(client: AsyncClient, gateway: Gateway) -> None:
    asked = asyncio.Event()

    async def hang_visibly(context: Context) -> None:
        asked.set()
        await hang(context)

    gateway.token_steps.append(hang_visibly)
    sending = asyncio.ensure_future(send(client))
    await asyncio.wait_for(asked.wait(), 5)

    await client.close(timedelta(milliseconds=50))

    with pytest.raises(Cancelled):
        await sending


async def test_cancelling_the_caller_stays_a_cancellation(client: AsyncClient, gateway: Gateway) -> None:
    gateway.steps.append(hang)
    sending = asyncio.ensure_future(send(client))
    await gateway.wait_for_requests(1)

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_server_of_an_unknown_authority_is_refused(gateway: Gateway, quick_retry: RetryPolicy) -> None:
    async with AsyncClient.connect(gateway.target, APP_KEY, APP_SECRET, retry=quick_retry) as client:
        with pytest.raises(Unavailable):
            await send(client)

    assert gateway.tokens_issued == 0


async def test_secret_and_token_appear_in_no_repr_log_or_error(
    client: AsyncClient, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway.steps.extend([UNAVAILABLE] * 4)

    with pytest.raises(ClarionError) as failed:
        await send(client)

    core = client._core
    shown = [repr(client), repr(vars(client)), repr(vars(core)), repr(vars(core.tokens)), repr(failed.value.__cause__)]
    assert not any(secret in text for text in [*shown, caplog.text] for secret in (APP_SECRET, "token-1"))
