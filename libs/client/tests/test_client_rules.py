"""The client's rules: what needs no server."""

import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from clarion.auth.v1.auth_service_pb2 import IssueTokenResponse
from clarion.errors.v1 import error_reason_pb2
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.types.v1 import channel_pb2
from clarion_client import (
    Action,
    AsyncClient,
    Attachment,
    Channel,
    ChannelMode,
    Client,
    Content,
    DeadlineExceeded,
    ErrorReason,
    FieldFault,
    InsecureTarget,
    InvalidArgument,
    JsonValue,
    Mail,
    Notification,
    Priority,
    Push,
    ResourceExhausted,
    RetryPolicy,
    Unauthenticated,
    Unavailable,
    _trace,
    addresses,
)
from clarion_client._secret import Secret
from clarion_client._target import certificate_name, is_loopback
from clarion_client._token import Token, from_answer
from clarion_client._wire import struct
from clarion_client.aio.tokens import AsyncTokens
from clarion_client.calls.notifications import ISSUE_TOKEN, SEND
from clarion_client.notification import notification_proto
from clarion_client.retry import Attempts
from clarion_client.sync.tokens import SyncTokens

AWAY = Unavailable("away", code=grpc.StatusCode.UNAVAILABLE)


def longest(low: float, high: float) -> float:
    return high


def test_reasons_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name, _ in error_reason_pb2.ErrorReason.items()}

    assert {reason.value for reason in ErrorReason} == contract - {"UNSPECIFIED"}


def test_enums_are_those_of_the_contract() -> None:
    for ours, contract, prefix in (
        (Channel, channel_pb2.Channel, "CHANNEL_"),
        (Priority, channel_pb2.Priority, "PRIORITY_"),
        (ChannelMode, pb.ChannelMode, "CHANNEL_MODE_"),
    ):
        named = {name.removeprefix(prefix): number for name, number in contract.items() if number}
        assert {member.name: member.value for member in ours} == named


def test_rules_of_a_method_are_read_from_the_contract() -> None:
    assert (SEND.path, SEND.idempotent, SEND.needs_token) == (
        "/clarion.notification.v1.NotificationService/Send",
        True,
        True,
    )
    assert not ISSUE_TOKEN.needs_token


@pytest.mark.parametrize(
    "target",
    [
        "localhost:443",
        "127.0.0.1:443",
        "127.9.9.9:1",
        "[::1]:443",
        "ipv4:127.0.0.1:1,127.0.0.2:2",
        "dns:///localhost:5",
        "dns:localhost:5",
        "unix:/run/clarion.sock",
    ],
)
def test_loopback_is_known(target: str) -> None:
    assert is_loopback(target)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ipv4:10.0.0.1:443,10.0.0.2:443", "10.0.0.1"),
        ("ipv6:[2001:db8::1]:443,[2001:db8::2]:443", "2001:db8::1"),
        ("ipv4:10.0.0.1:443", None),
        ("10.0.0.1:443", None),
        ("dns:///gateway.example:443", None),
    ],
)
def test_list_of_addresses_is_expected_under_the_name_of_its_first(target: str, expected: str | None) -> None:
    assert dict(certificate_name(target)).get("grpc.ssl_target_name_override") == expected


@pytest.mark.parametrize(
    "target",
    [
        "gateway.example:443",
        "10.0.0.1:443",
        "0.0.0.0:443",
        "localhost.example:1",
        "ipv4:127.0.0.1:1,10.0.0.1:2",
        "dns://8.8.8.8/localhost:5",
        "xds:///localhost",
        "[::]:443",
        "",
    ],
)
async def test_insecure_is_refused_off_loopback(target: str) -> None:
    with pytest.raises(InsecureTarget):
        AsyncClient.connect(target, "k", "s", insecure=True)
    with pytest.raises(InsecureTarget):
        Client.connect(target, "k", "s", insecure=True)


def test_pauses_double_up_to_their_bound_and_stop_at_the_last_attempt() -> None:
    policy = RetryPolicy(max_attempts=5, first_bound=timedelta(milliseconds=100), max_bound=timedelta(milliseconds=300))
    attempts = Attempts(policy, timedelta(seconds=60), idempotent=True, now=lambda: 0.0, draw=longest)

    pauses = [attempts.pause_after(AWAY, with_token=True) for _ in range(5)]

    assert pauses == [0.1, 0.2, 0.3, 0.3, None]


def test_overload_waits_longer_than_a_lost_connection() -> None:
    attempts = Attempts(RetryPolicy(), timedelta(seconds=60), idempotent=True, now=lambda: 0.0, draw=longest)
    overloaded = ResourceExhausted("", code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OVERLOADED")

    assert attempts.pause_after(overloaded, with_token=True) == 1.0


def test_too_large_is_never_repeated() -> None:
    attempts = Attempts(RetryPolicy(), timedelta(seconds=60), idempotent=True)
    too_large = ResourceExhausted("", code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="TOO_LARGE")

    assert attempts.pause_after(too_large, with_token=True) is None


def test_no_pause_passes_the_deadline() -> None:
    attempts = Attempts(RetryPolicy(), timedelta(seconds=0.1), idempotent=True, now=lambda: 0.0, draw=longest)

    assert attempts.pause_after(AWAY, with_token=True) is None


def test_refused_token_is_renewed_once() -> None:
    attempts = Attempts(RetryPolicy(max_attempts=1), timedelta(seconds=1), idempotent=False)
    refused = Unauthenticated("", code=grpc.StatusCode.UNAUTHENTICATED)

    assert [attempts.pause_after(refused, with_token=True) for _ in range(2)] == [0.0, None]


def test_token_is_renewed_a_minute_before_its_end() -> None:
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    answer = IssueTokenResponse(token="t")
    answer.expires_at.FromDatetime(wall + timedelta(minutes=10))

    token = from_answer(answer, wall=wall, monotonic=1_000.0)

    assert (token.refresh_at, token.ends_at) == (1_540.0, 1_600.0)


@pytest.mark.parametrize(("clock_error", "life_seconds"), [(timedelta(hours=1), 30), (timedelta(hours=-1), 900)])
def test_wrong_clock_keeps_a_token_usable_and_bounded(clock_error: timedelta, life_seconds: int) -> None:
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    answer = IssueTokenResponse(token="t")
    answer.expires_at.FromDatetime(wall + timedelta(minutes=15))

    token = from_answer(answer, wall=wall + clock_error, monotonic=0.0)

    assert token.ends_at == life_seconds
    assert 0.0 < token.refresh_at < token.ends_at


async def test_token_serves_while_it_is_renewed_ahead() -> None:
    clock = 0.0
    issued = 0

    async def issue() -> Token:
        nonlocal issued
        issued += 1
        return Token(Secret(str(issued)), refresh_at=clock + 10, ends_at=clock + 20)

    tokens = AsyncTokens(issue, now=lambda: clock)
    first = await tokens.get(1)
    clock = 11.0
    during = await tokens.get(1)
    assert tokens._flight is not None
    await tokens._flight
    after = await tokens.get(1)

    assert (first.value.reveal(), during.value.reveal(), after.value.reveal()) == ("1", "1", "2")


async def test_renewal_that_fails_leaves_the_old_token_and_pauses() -> None:
    clock = 0.0
    asked = 0

    async def issue() -> Token:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise AWAY
        return Token(Secret("1"), refresh_at=10, ends_at=20)

    tokens = AsyncTokens(issue, now=lambda: clock)
    await tokens.get(1)
    clock = 11.0
    await tokens.get(1)
    assert tokens._flight is not None
    with pytest.raises(Unavailable):
        await tokens._flight

    assert (await tokens.get(1)).value.reveal() == "1"
    assert asked == 2
    clock = 16.0
    await tokens.get(1)
    with pytest.raises(Unavailable):
        await tokens._flight
    assert asked == 3


def test_sync_renewal_that_fails_leaves_the_old_token() -> None:
    clock = 0.0
    asked = 0

    def issue(timeout_seconds: float) -> Token:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise AWAY
        return Token(Secret("1"), refresh_at=10, ends_at=20)

    tokens = SyncTokens(issue, now=lambda: clock)
    tokens.get(lambda: 1.0)
    clock = 11.0

    assert tokens.get(lambda: 1.0).value.reveal() == "1"
    assert tokens.get(lambda: 1.0).value.reveal() == "1"
    assert asked == 2
    clock = 20.0
    with pytest.raises(Unavailable):
        tokens.get(lambda: 1.0)


@pytest.mark.parametrize("field", ["deliver_at", "expire_at"])
def test_naive_datetime_is_refused(field: str) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match=f"{field} has no time zone"):
        Notification(
            recipients=["u"],
            category="c",
            template="t",
            deliver_at=naive if field == "deliver_at" else None,
            expire_at=naive if field == "expire_at" else None,
        )


def test_recipients_as_one_string_are_refused() -> None:
    with pytest.raises(ValueError, match="letter by letter"):
        Notification(recipients="user-1", category="c", template="t")


def test_body_is_exactly_one() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Notification(recipients=["u"], category="c")
    with pytest.raises(ValueError, match="exactly one"):
        Notification(recipients=["u"], category="c", template="t", content=Content(sms="x"))


def test_notification_becomes_the_contracts_message() -> None:
    made = Notification(
        recipients=["u1", "u2"],
        category="orders",
        event_id="e1",
        content=Content(
            push=Push(title="T", actions=[Action(id="a", title="Open", link="shop://1")]),
            sms="S",
            mail=Mail(subject="M", text="B"),
        ),
        attachments=[Attachment(filename="a.png", content_type="image/png", content=b"x", content_id="logo")],
        channels=[Channel.SMS, Channel.IOS],
        channel_mode=ChannelMode.FIRST_AVAILABLE,
        priority=Priority.URGENT,
        deliver_at=datetime(2026, 1, 1, 9, tzinfo=UTC),
        collapse_key="k",
    ).to_proto()

    expected = pb.Notification(event_id="e1", recipient_ids=["u1", "u2"], category="orders", collapse_key="k")
    expected.content.push.title = "T"
    expected.content.push.actions.add(id="a", title="Open", link="shop://1")
    expected.attachments.add(filename="a.png", content_type="image/png", content=b"x", content_id="logo")
    expected.content.sms.text = "S"
    expected.content.mail.subject = "M"
    expected.content.mail.text = "B"
    expected.channel_policy.mode = pb.CHANNEL_MODE_FIRST_AVAILABLE
    expected.channel_policy.channels.extend([channel_pb2.CHANNEL_SMS, channel_pb2.CHANNEL_IOS])
    expected.priority = channel_pb2.PRIORITY_URGENT
    expected.deliver_at.FromJsonString("2026-01-01T09:00:00Z")
    assert made == expected


def test_message_without_event_id_gets_one_on_a_copy() -> None:
    given = pb.Notification(category="c")

    named = notification_proto(given)

    assert named.event_id
    assert given.event_id == ""


def test_personal_data_stays_out_of_repr() -> None:
    made = Notification(recipients=["u"], category="c", template="t", data={"name": "canary-name"})

    assert "canary-name" not in repr(made)


def test_template_data_keeps_its_shape() -> None:
    data: dict[str, JsonValue] = {
        "text": "x",
        "number": 1.5,
        "flag": True,
        "none": None,
        "list": [1, {"a": []}],
        "map": {},
    }
    expected = Struct()
    ParseDict(data, expected)

    assert struct(data) == expected


@pytest.mark.parametrize(
    ("value", "complaint"), [(2**53 + 1, "beyond"), (float("nan"), "finite"), (b"x", "bytes"), (object(), "object")]
)
def test_template_data_that_would_change_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.a\[0\].*{complaint}"):
        struct({"a": [value]})  # type: ignore[list-item]  # what a caller without a type checker may pass


def test_web_address_is_read_from_the_browsers_json() -> None:
    text = '{"endpoint": "https://push.example/1", "expirationTime": null, "keys": {"p256dh": "P", "auth": "A"}}'

    web = addresses.web(text).web

    assert (web.endpoint, web.p256dh, web.auth) == ("https://push.example/1", "P", "A")
    assert addresses.web(text, application_server_key="K").web.application_server_key == "K"


@pytest.mark.parametrize("text", ["canary", "[]", '{"endpoint": "canary"}', '{"keys": {"auth": "canary"}}'])
def test_faulty_web_subscription_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="push subscription") as refused:
        addresses.web(text)

    assert "canary" not in str(refused.value)


def test_error_survives_pickling() -> None:
    error = InvalidArgument(
        "no", code=grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_FIELD", field_faults=[FieldFault("a", "b")]
    )

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is InvalidArgument
    assert (str(again), again.reason, again.field_faults) == (str(error), error.reason, error.field_faults)


def test_secret_is_not_shown_or_pickled() -> None:
    secret = Secret("canary")

    assert "canary" not in f"{secret} {secret!r}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize(("flags", "sampled"), [(0, False), (1, True), (3, True)])
def test_current_span_travels_with_its_flag(flags: int, sampled: bool) -> None:
    span = NonRecordingSpan(SpanContext(0xAB, 0xCD, is_remote=False, trace_flags=TraceFlags(flags)))

    with otel.use_span(span):
        current, forced = _trace.current(), _trace.forced()

    assert current == _trace.TraceContext(f"{0xAB:032x}", f"{0xCD:016x}", sampled)
    assert forced.traceparent == f"00-{0xAB:032x}-{0xCD:016x}-01"


def test_without_opentelemetry_the_client_imports_and_traces_only_on_demand() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None; sys.modules['opentelemetry.trace'] = None\n"
        "from clarion_client import _trace\n"
        "assert _trace.current() is None and _trace.forced().sampled\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def late() -> DeadlineExceeded:
    return DeadlineExceeded("too late", code=grpc.StatusCode.DEADLINE_EXCEEDED)


def test_attempt_that_hangs_is_cut_and_another_follows() -> None:
    clock = [0.0]
    attempts = Attempts(RetryPolicy(), timedelta(seconds=10), idempotent=True, now=lambda: clock[0], draw=longest)

    assert attempts.next_seconds() == 3.0
    clock[0] = 3.0
    assert attempts.pause_after(late(), with_token=False) == 0.1
    clock[0] = 8.0
    assert attempts.next_seconds() == 2.0
    assert attempts.pause_after(late(), with_token=False) is None


def test_call_that_may_not_be_repeated_has_all_its_time_in_one_attempt() -> None:
    attempts = Attempts(RetryPolicy(), timedelta(seconds=10), idempotent=False, now=lambda: 0.0)

    assert attempts.next_seconds() == 10.0
    assert attempts.pause_after(late(), with_token=False) is None
