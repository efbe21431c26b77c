"""`clarion dlq` against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
import pytest

from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.deadletter.v1 import dead_letter_service_pb2_grpc
from clarion.notification.v1 import state_pb2
from clarion.types.v1 import channel_pb2
from clarion_local.authority import Authority
from clarion_local.cli.dead_letters import CHUNK

from .scripted_stack import clarion, scripted_stack

Context = grpc.ServicerContext
START = datetime(2030, 1, 1, tzinfo=UTC)
LETTER = pb.DeadLetter(
    delivery_id="d-1",
    channel=channel_pb2.CHANNEL_SMS,
    reason=state_pb2.REASON_RETRIES_EXHAUSTED,
    last_code="0x58",
    provider="[red]smpp\x1b[2J",
    attempts=2,
)


class Gateway(auth_service_pb2_grpc.AuthServiceServicer, dead_letter_service_pb2_grpc.DeadLetterServiceServicer):
    """Has `letters` that match any filter; the one with the id "gone" has no content."""

    def __init__(self) -> None:
        self.letters = 3
        self.done_before = 0
        self.lists: list[pb.ListDeadLettersRequest] = []
        self.redrives: list[pb.RedriveRequest] = []

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Context) -> pb.ListDeadLettersResponse:
        self.lists.append(request)
        return pb.ListDeadLettersResponse(dead_letters=[LETTER])

    def GetDeadLetter(self, request: pb.GetDeadLetterRequest, context: Context) -> pb.GetDeadLetterResponse:
        answer = pb.GetDeadLetterResponse(dead_letter=LETTER, category="orders", content_state=pb.CONTENT_STATE_PRESENT)
        answer.content.sms.text = "your code is 1"
        attempt = answer.attempts.add(attempt=1, provider="smpp", outcome=pb.ATTEMPT_OUTCOME_THROTTLE, code="0x58")
        attempt.duration.FromMilliseconds(35)
        return answer

    def Redrive(self, request: pb.RedriveRequest, context: Context) -> pb.RedriveResponse:
        self.redrives.append(request)
        answer = pb.RedriveResponse()
        for id_ in request.delivery_ids:
            answer.results.add(delivery_id=id_, outcome=_outcome(id_), new_delivery_id=f"new-{id_}")
        if request.HasField("filter"):
            start = int(request.page_token or "0")
            end = min(self.letters, start + request.max)
            for number in range(start, end):
                done = number < self.done_before
                outcome = pb.REDRIVE_OUTCOME_ALREADY_REDRIVEN if done else pb.REDRIVE_OUTCOME_REDRIVEN
                answer.results.add(delivery_id=f"d-{number}", outcome=outcome)
            answer.next_page_token = str(end) if end < self.letters else ""
        answer.next_due_at.FromDatetime(START + timedelta(seconds=len(self.redrives)))
        return answer


def _outcome(id_: str) -> pb.RedriveOutcome.ValueType:
    return pb.REDRIVE_OUTCOME_CONTENT_GONE if id_ == "gone" else pb.REDRIVE_OUTCOME_REDRIVEN


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, gateway: Gateway, authority: Authority) -> Iterator[Path]:
    """The folder of a local stack whose gateway is ours."""
    services = (
        partial(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, gateway),
        partial(dead_letter_service_pb2_grpc.add_DeadLetterServiceServicer_to_server, gateway),
    )
    with scripted_stack(tmp_path, authority, *services) as folder:
        yield folder


def test_list_passes_its_filters_and_shows_rows_without_control(stack: Path, gateway: Gateway) -> None:
    result = clarion(
        stack, "dlq", "list", "--channel", "sms", "--reason", "poison", "--since", "2030-01-01T00:00Z", "--provider", "smpp",
        "--code", "0x58", "--not-redriven",
    )  # fmt: skip

    [request] = gateway.lists
    assert (request.channel, request.reason) == (channel_pb2.CHANNEL_SMS, state_pb2.REASON_POISON)
    assert (request.provider, request.last_code, request.redriven) == ("smpp", "0x58", pb.REDRIVEN_NO)
    assert request.since.ToDatetime(UTC) == START
    assert (result.exit_code, "\x1b[2J" in result.stdout, "retries_exhausted" in result.stdout) == (0, False, True)


def test_show_tells_attempts_and_content(stack: Path) -> None:
    shown = clarion(stack, "dlq", "show", "d-1").stdout
    document = json.loads(clarion(stack, "dlq", "show", "d-1", "--json").stdout)

    for part in ("orders", "throttle", "35 ms", "your code is 1"):
        assert part in shown
    assert document["content"]["sms"]["text"] == "your code is 1"


def test_redrive_by_ids_says_what_could_not_be_redriven(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, "dlq", "redrive", "d-1", "gone", "--json", "--rate", "5")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("outcome") for line in lines[:2]] == ["REDRIVE_OUTCOME_REDRIVEN", "REDRIVE_OUTCOME_CONTENT_GONE"]
    assert lines[2] == {"total": 2, "outcomes": {"redriven": 1, "content gone": 1}}
    assert result.exit_code == 1
    assert (list(gateway.redrives[0].delivery_ids), gateway.redrives[0].rate_per_second) == (["d-1", "gone"], 5)


def test_redrive_by_filter_goes_on_where_and_when_the_last_call_ended(stack: Path, gateway: Gateway) -> None:
    gateway.letters = 2 * CHUNK + 7

    result = clarion(stack, "dlq", "redrive", "--channel", "sms", "--max", str(2 * CHUNK))

    first, second = gateway.redrives
    assert (first.max, first.page_token, first.HasField("due_at")) == (CHUNK, "", False)
    assert (second.max, second.page_token) == (CHUNK, str(CHUNK))
    assert second.due_at.ToDatetime(UTC) == START + timedelta(seconds=1)
    assert (result.exit_code, result.stdout.strip()) == (0, f"{2 * CHUNK} redriven")


def test_letters_that_were_redriven_before_do_not_count(stack: Path, gateway: Gateway) -> None:
    gateway.letters, gateway.done_before = 10, 4

    result = clarion(stack, "dlq", "redrive", "--all", "--max", "5")

    assert [request.max for request in gateway.redrives] == [5, 4]
    assert result.stdout.strip() == "4 already redriven, 5 redriven"


def test_redrive_of_everything_must_be_said(stack: Path, gateway: Gateway) -> None:
    refused = [
        clarion(stack, "dlq", "redrive").exit_code,
        clarion(stack, "dlq", "redrive", "d-1", "--code", "503").exit_code,
    ]

    assert refused == [2, 2]
    assert gateway.redrives == []
    assert clarion(stack, "dlq", "redrive", "--all").exit_code == 0
    assert gateway.redrives[0].filter == pb.DeadLetterFilter()
