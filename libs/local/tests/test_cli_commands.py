"""The command against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Never

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from typer.testing import Result

from clarion.app.v1 import app_service_pb2, app_service_pb2_grpc
from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.budget.v1 import budget_service_pb2, budget_service_pb2_grpc
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import notification_service_pb2_grpc, state_pb2
from clarion.recipient.v1 import recipient_service_pb2, recipient_service_pb2_grpc
from clarion.types.v1 import channel_pb2
from clarion_local.authority import Authority
from clarion_local.cli.connection import STACK_FILE
from clarion_local.cli.remembered import AppKey, RememberedApps

from .scripted_stack import KEY, clarion, scripted_stack

Context = grpc.ServicerContext
NEW_SECRET = "cs_canary_of_a_new_key"
PHONE = "+821099990001"


def refused(code: grpc.StatusCode, reason: str, message: str) -> status_pb2.Status:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="clarion", metadata={"k": "v"}))
    return status_pb2.Status(code=code.value[0], message=message, details=[info])


def abort(context: Context, code: grpc.StatusCode, reason: str, message: str) -> Never:
    details = refused(code, reason, message).SerializeToString()
    context.set_trailing_metadata((("grpc-status-details-bin", details),))
    context.abort(code, message)
    raise AssertionError


class Gateway(
    auth_service_pb2_grpc.AuthServiceServicer,
    notification_service_pb2_grpc.NotificationServiceServicer,
    recipient_service_pb2_grpc.RecipientServiceServicer,
    app_service_pb2_grpc.AppServiceServicer,
    budget_service_pb2_grpc.BudgetServiceServicer,
):
    """Remembers what it was asked; a notification is done at the third look."""

    def __init__(self) -> None:
        self.sent: list[pb.Notification] = []
        self.upserts: list[list[str]] = []
        self.may_import = True
        self.moves: list[pb.RescheduleRequest] = []
        self.looks = 0
        self.lists: list[pb.ListRequest] = []
        self.budgets: list[budget_service_pb2.SmsBudget] = []

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        if (request.app_key, request.app_secret) != (KEY.app_key, KEY.app_secret):
            abort(context, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "unknown key or wrong secret")
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def Send(self, request: pb.SendRequest, context: Context) -> pb.SendResponse:
        self.sent.append(request.notification)
        if request.notification.category == "nope":
            abort(context, grpc.StatusCode.INVALID_ARGUMENT, "CATEGORY_NOT_FOUND", "there is no category 'nope'")
        return pb.SendResponse(notification_id="n-1")

    def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        self.looks += 1
        answer = pb.GetResponse(
            notification=pb.NotificationView(
                notification_id="n-1",
                event_id=request.event_id or "e-1",
                state=state_pb2.NOTIFICATION_STATE_DONE if self.looks > 2 else state_pb2.NOTIFICATION_STATE_PLANNED,
            ),
            deliveries=[
                pb.Delivery(
                    delivery_id="d-1",
                    channel=channel_pb2.CHANNEL_SMS,
                    state=state_pb2.DELIVERY_STATE_SUPPRESSED,
                    reason=state_pb2.REASON_CHANNEL_OFF,
                    provider="[red]twilio\x1b[2J",
                )
            ],
            timeline=[pb.TimelineEntry(kind=pb.EVENT_KIND_TERMINAL, delivery_id="d-1")],
        )
        answer.deliveries[0].gates.records.add(
            gate=state_pb2.GATE_WISHES, verdict=state_pb2.VERDICT_SUPPRESS, rule="channel sms: off"
        )
        return answer

    def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        self.lists.append(request)
        page = int(request.page_token or "0")
        views = [pb.NotificationView(notification_id=f"{page}-{index}") for index in range(request.page_size)]
        return pb.ListResponse(notifications=views, next_page_token=str(page + 1))

    def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        abort(context, grpc.StatusCode.FAILED_PRECONDITION, "NOT_CANCELLABLE", "nothing is in flight any more")

    def Reschedule(self, request: pb.RescheduleRequest, context: Context) -> pb.RescheduleResponse:
        self.moves.append(request)
        expire_at = Timestamp(seconds=request.deliver_at.seconds + 86_400)
        return pb.RescheduleResponse(deliver_at=request.deliver_at, expire_at=expire_at)

    def UpsertRecipients(
        self, request: recipient_service_pb2.UpsertRecipientsRequest, context: Context
    ) -> recipient_service_pb2.UpsertRecipientsResponse:
        if not self.may_import:
            abort(context, grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", "the token lacks the scope")
        self.upserts.append([recipient.recipient_id for recipient in request.recipients])
        answer = recipient_service_pb2.UpsertRecipientsResponse()
        for recipient in request.recipients:
            if recipient.country == "ZZ":
                error = refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "country: no such country")
                answer.results.add(error=error)
            else:
                answer.results.add(stored=recipient_service_pb2.UpsertRecipientResponse(created=True))
        return answer

    def CreateKey(
        self, request: app_service_pb2.CreateKeyRequest, context: Context
    ) -> app_service_pb2.CreateKeyResponse:
        key = app_service_pb2.Key(app_key="ck_new", scopes=request.scopes)
        return app_service_pb2.CreateKeyResponse(key=key, app_secret=NEW_SECRET)

    def RevokeKey(
        self, request: app_service_pb2.RevokeKeyRequest, context: Context
    ) -> app_service_pb2.RevokeKeyResponse:
        return app_service_pb2.RevokeKeyResponse(key=app_service_pb2.Key(app_key=request.app_key))

    def PutSmsBudget(
        self, request: budget_service_pb2.PutSmsBudgetRequest, context: Context
    ) -> budget_service_pb2.PutSmsBudgetResponse:
        self.budgets.append(request.budget)
        return budget_service_pb2.PutSmsBudgetResponse(state=self._budget_states()[-1])

    def ListSmsBudgets(
        self, request: budget_service_pb2.ListSmsBudgetsRequest, context: Context
    ) -> budget_service_pb2.ListSmsBudgetsResponse:
        return budget_service_pb2.ListSmsBudgetsResponse(budgets=self._budget_states())

    def DeleteSmsBudget(
        self, request: budget_service_pb2.DeleteSmsBudgetRequest, context: Context
    ) -> budget_service_pb2.DeleteSmsBudgetResponse:
        kept = [one for one in self.budgets if (one.country, one.prefix) != (request.country, request.prefix)]
        deleted, self.budgets = len(kept) < len(self.budgets), kept
        return budget_service_pb2.DeleteSmsBudgetResponse(deleted=deleted)

    def _budget_states(self) -> list[budget_service_pb2.SmsBudgetState]:
        return [
            budget_service_pb2.SmsBudgetState(budget=budget, used=1_234, remaining=8_766, near_limit=True)
            for budget in self.budgets
        ]

    def _unasked(self, request: Message, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError

    def SendStream(self, request_iterator: object, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError

    def ImportRecipients(self, request_iterator: object, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError

    SendBatch = Explain = _unasked
    UpsertRecipient = GetRecipient = RegisterAddress = RemoveAddress = MergeRecipients = EraseRecipient = _unasked
    ExportRecipient = _unasked
    CreateApp = ListApps = ListKeys = UpdateApp = UpdateKey = RotateKey = _unasked


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, gateway: Gateway, authority: Authority) -> Iterator[Path]:
    """The folder of a local stack whose gateway is ours."""
    services = (
        partial(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, gateway),
        partial(notification_service_pb2_grpc.add_NotificationServiceServicer_to_server, gateway),
        partial(recipient_service_pb2_grpc.add_RecipientServiceServicer_to_server, gateway),
        partial(app_service_pb2_grpc.add_AppServiceServicer_to_server, gateway),
        partial(budget_service_pb2_grpc.add_BudgetServiceServicer_to_server, gateway),
    )
    with scripted_stack(tmp_path, authority, *services) as folder:
        yield folder


def documents(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


SEND: Sequence[str] = ("send", "--to", "u1", "--category", "transactional")


def test_send_hands_in_what_was_typed(stack: Path, gateway: Gateway) -> None:
    result = clarion(
        stack, *SEND, "--to", "u2", "--sms", "hi", "--subject", "s", "--text", "t", "--channel", "sms",
        "--channel", "email", "--priority", "urgent", "--expire", "2099-01-01T00:00Z", "--event-id", "e-1", "--json",
    )  # fmt: skip

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"event_id": "e-1", "notification_id": "n-1", "duplicate": False}
    (sent,) = gateway.sent
    assert (list(sent.recipient_ids), sent.category, sent.event_id) == (["u1", "u2"], "transactional", "e-1")
    assert (sent.content.sms.text, sent.content.mail.subject, sent.priority) == ("hi", "s", 1)
    assert list(sent.channel_policy.channels) == [4, 5]
    assert sent.expire_at.seconds == 4_070_908_800


def test_template_data_is_a_json_object(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, *SEND, "--template", "order", "--data", '{"n": 3}')

    assert result.exit_code == 0
    assert dict(gateway.sent[0].template.data) == {"n": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("--sms", "x", "--template", "t"),
        ("--text", "a mail without subject"),
        ("--template", "t", "--data", "[1]"),
        ("--template", "t", "--data", "{"),
        ("--sms", "x", "--at", "yesterday"),
        ("--sms", "x", "--channel", "pigeon"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_and_nothing_is_sent(
    stack: Path, gateway: Gateway, wrong: Sequence[str]
) -> None:
    assert clarion(stack, *SEND, *wrong).exit_code == 2
    assert gateway.sent == []


def test_refusal_shows_its_reason(stack: Path) -> None:
    result = clarion(stack, "send", "--to", "u1", "--category", "nope", "--sms", "x")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "CATEGORY_NOT_FOUND: there is no category 'nope'" in result.stderr


def test_send_by_each_recipients_clock(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, *SEND, "--sms", "x", "--at-local", "2027-01-10T09:00", "--window", "09:00-21:00/1,2,3,4,5")

    assert result.exit_code == 0
    (sent,) = gateway.sent
    assert sent.deliver_at_local == "2027-01-10T09:00:00"
    assert (sent.send_window.opens, sent.send_window.closes) == ("09:00", "21:00")
    assert list(sent.send_window.weekdays) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("window", ["9-21", "09:00", "09:00-21:00/", "09:00-21:00/8", "09:00-21:00/1;2", ""])
def test_window_of_another_form_is_refused_before_anything_is_sent(stack: Path, gateway: Gateway, window: str) -> None:
    result = clarion(stack, *SEND, "--sms", "x", "--window", window)

    assert (result.exit_code, gateway.sent) == (2, [])


def test_scheduled_send_is_moved(stack: Path, gateway: Gateway) -> None:
    moved = clarion(stack, "reschedule", "n-1", "--at", "2099-01-01T00:00Z")
    document = clarion(stack, "reschedule", "n-1", "--at", "10m", "--expire", "1h", "--json")

    assert (moved.exit_code, document.exit_code) == (0, 0)
    assert "2099-01-01 00:00:00" in moved.stdout
    assert [move.HasField("expire_at") for move in gateway.moves] == [False, True]
    assert json.loads(document.stdout).keys() == {"deliver_at", "expire_at"}


def test_refusal_is_one_document_for_machines(stack: Path) -> None:
    result = clarion(stack, "cancel", "n-1", "--json")

    assert result.exit_code == 1
    (document,) = documents(result)
    assert document == {
        "error": {
            "reason": "NOT_CANCELLABLE",
            "message": "nothing is in flight any more",
            "fields": [],
            "metadata": {"k": "v"},
            "exit_code": 1,
        }
    }


def test_wrong_secret_is_a_refusal(stack: Path) -> None:
    result = clarion(stack, "get", "n-1", env={"CLARION_APP_KEY": "ck_test", "CLARION_APP_SECRET": "cs_wrong"})

    assert result.exit_code == 1
    assert "UNAUTHENTICATED" in result.stderr
    assert "cs_wrong" not in result.output


def test_gateway_that_is_away_is_told_apart(stack: Path, authority: Authority) -> None:
    away = {"CLARION_ENDPOINT": "127.0.0.1:9", "CLARION_CA_FILE": str(authority.ca)}

    result = clarion(
        stack, "get", "n-1", "--timeout", "0.3", env={**away, "CLARION_APP_KEY": "ck", "CLARION_APP_SECRET": "cs"}
    )

    assert result.exit_code == 3
    assert "is the stack running" in result.stderr


def test_wait_looks_until_everything_has_ended(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, *SEND, "--sms", "x", "--wait", "--json")

    assert result.exit_code == 0
    assert gateway.looks == 3
    document = json.loads(result.stdout)
    assert document["notification"]["state"] == "NOTIFICATION_STATE_DONE"
    assert document["notification_id"] == "n-1"


def test_wait_gives_up_at_its_limit(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, *SEND, "--sms", "x", "--wait", "--wait-limit", "0")

    assert (result.exit_code, gateway.looks) == (1, 1)
    assert "still in flight" in result.stderr


def test_get_shows_gates_and_timeline(stack: Path) -> None:
    result = clarion(stack, "get", "--event", "e-7")

    assert result.exit_code == 0
    for shown in ("e-7", "suppressed", "channel_off", "wishes: suppress (channel sms: off)", "terminal"):
        assert shown in result.stdout


def test_what_others_wrote_is_shown_as_it_is_and_cannot_steer_the_terminal(stack: Path) -> None:
    result = clarion(stack, "get", "n-1")

    assert "[red]twilio\N{REPLACEMENT CHARACTER}[2J" in result.stdout
    assert "\x1b[2J" not in result.stdout


@pytest.mark.parametrize("arguments", [("get",), ("get", "n-1", "--event", "e-1")])
def test_get_takes_exactly_one_id(stack: Path, arguments: Sequence[str]) -> None:
    assert clarion(stack, *arguments).exit_code == 2


def test_list_pages_until_its_limit(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, "list", "--limit", "700", "--recipient", "u1", "--json")

    assert len(documents(result)) == 700
    assert [(request.page_size, request.recipient_id) for request in gateway.lists] == [(500, "u1"), (500, "u1")]


def test_import_stores_the_good_and_tells_the_bad(stack: Path, gateway: Gateway, tmp_path: Path) -> None:
    file, rest = tmp_path / "people.csv", tmp_path / "bad.csv"
    file.write_text(f"recipient_id,country,phone\nu1,KR,{PHONE}\nu2,ZZ,\nu3\nu4,,\n")

    result = clarion(stack, "recipients", "import", str(file), "--bad", str(rest), "--json")

    assert result.exit_code == 1
    assert documents(result) == [
        {"line": 4, "reason": "1 columns, the header has 3"},
        {"line": 3, "reason": "INVALID_FIELD: country: no such country"},
        {"stored": 2, "created": 2, "bad": 2},
    ]
    assert gateway.upserts == [["u1", "u2", "u4"]]
    assert rest.read_text() == "u3\nu2,ZZ,\n"


def test_import_reads_the_standard_input(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, "recipients", "import", "-", text='{"recipient_id": "u1"}\n')

    assert (result.exit_code, gateway.upserts) == (0, [["u1"]])
    assert "1 stored (1 new), 0 bad" in result.stdout


def test_import_never_asks_for_more_than_a_call_takes(stack: Path, gateway: Gateway) -> None:
    text = "".join(f'{{"recipient_id": "u{number}"}}\n' for number in range(1_100))

    clarion(stack, "recipients", "import", "-", text=text)

    assert sorted(len(ids) for ids in gateway.upserts) == [100, 500, 500]


def test_import_stops_where_a_call_fails_and_says_how_far_it_came(stack: Path, gateway: Gateway) -> None:
    gateway.may_import = False

    result = clarion(stack, "recipients", "import", "-", text='{"recipient_id": "u1"}\n')

    assert result.exit_code != 0
    assert "stopped after line 0: 0 stored (0 new), 0 bad" in result.stderr


def test_same_recipient_twice_is_stored_twice_in_order(stack: Path, gateway: Gateway) -> None:
    text = '{"recipient_id": "u1", "locale": "en"}\n{"recipient_id": "u1", "locale": "ko"}\n'

    assert clarion(stack, "recipients", "import", "-", text=text).exit_code == 0
    assert gateway.upserts == [["u1"], ["u1"]]


@pytest.mark.parametrize("content", ["nick,recipient_id\nx,u1\n", ""])
def test_import_of_a_csv_without_its_header_is_a_usage_error(stack: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "people.csv").write_text(content)

    result = clarion(stack, "recipients", "import", str(tmp_path / "people.csv"))

    assert result.exit_code == 2
    assert "header must name recipient_id" in result.stderr


def test_import_of_a_missing_file_is_a_usage_error(stack: Path, tmp_path: Path) -> None:
    assert clarion(stack, "recipients", "import", str(tmp_path / "none.csv")).exit_code == 2


def test_new_key_is_shown_once_and_remembered(stack: Path) -> None:
    result = clarion(stack, "keys", "create", "shop", "--scope", "send:*", "--scope", "status:read")

    assert result.exit_code == 0
    assert result.stdout.count(NEW_SECRET) == 1
    assert RememberedApps(stack).all()["shop"] == AppKey("ck_new", NEW_SECRET)


def test_new_key_of_another_gateway_is_not_kept(stack: Path, authority: Authority) -> None:
    endpoint = json.loads((stack / STACK_FILE).read_text())["gateway"]
    env = {"CLARION_ENDPOINT": endpoint, "CLARION_CA_FILE": str(authority.ca), "CLARION_APP_KEY": KEY.app_key}

    result = clarion(
        stack, "keys", "create", "shop", "--scope", "admin", env={**env, "CLARION_APP_SECRET": KEY.app_secret}
    )

    assert result.exit_code == 0
    assert "shop" not in RememberedApps(stack).all()


def test_revoked_key_is_forgotten(stack: Path) -> None:
    RememberedApps(stack).put("shop", AppKey("ck_old", "cs"))

    assert clarion(stack, "keys", "revoke", "ck_old").exit_code == 0
    assert "shop" not in RememberedApps(stack).all()


def test_budget_is_put_as_typed_and_shown_with_what_is_used(stack: Path, gateway: Gateway) -> None:
    typed = ("--segments", "10000", "--period", "day", "--zone", "Asia/Seoul", "--stops-critical", "--near", "50")

    put = clarion(stack, "budgets", "put", "shop", "--prefix", "8821", *typed)
    listed = clarion(stack, "budgets", "list", "shop")

    assert gateway.budgets == [
        budget_service_pb2.SmsBudget(
            prefix="8821",
            segments=10_000,
            period=budget_service_pb2.BUDGET_PERIOD_DAY,
            time_zone="Asia/Seoul",
            stops_critical=True,
            near_limit_percent=50,
        )
    ]
    for result in (put, listed):
        for shown in ("+8821…", "10,000", "1,234", "8,766", "day in Asia/Seoul", "stop", "50 % reached"):
            assert shown in result.stdout


def test_budget_is_removed_once(stack: Path) -> None:
    clarion(stack, "budgets", "put", "shop", "--country", "KR", "--segments", "1")

    first = clarion(stack, "budgets", "delete", "shop", "--country", "KR")
    again = clarion(stack, "budgets", "delete", "shop", "--country", "KR", "--json")

    assert first.stdout == "removed\n"
    assert json.loads(again.stdout) == {"deleted": False}


def test_known_secrets_are_never_shown(stack: Path) -> None:
    shown = "".join(
        clarion(stack, *arguments).output
        for arguments in (("get", "n-1"), ("get", "n-1", "--json"), (*SEND, "--sms", "x"), ("keys", "revoke", "ck_x"))
    )

    assert KEY.app_secret not in shown


@pytest.mark.parametrize("arguments", [("audit",), ("queues",), ("audit", "--json")])
def test_operators_are_told_when_a_server_is_away(stack: Path, arguments: Sequence[str]) -> None:
    result = clarion(stack, *arguments)

    assert result.exit_code == 3
    assert "does not answer" in result.output


def test_migrate_needs_its_url_said(stack: Path) -> None:
    result = clarion(stack, "migrate")

    assert result.exit_code == 2
    assert "CLARION_DATABASE_URL is not set" in result.stderr


def test_migrate_of_a_server_that_is_away(stack: Path) -> None:
    url = "postgresql://u:cs_canary@127.0.0.1:9/x"

    result = clarion(stack, "migrate", "status", env={"CLARION_DATABASE_URL": url})

    assert result.exit_code == 3
    assert "cs_canary" not in result.output


def test_version_names_the_servers(tmp_path: Path) -> None:
    document = json.loads(clarion(tmp_path, "version", "--json").stdout)

    assert set(document) == {"clarion", "python", "postgres", "nats", "valkey"}
