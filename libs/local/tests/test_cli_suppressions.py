"""`clarion suppressions` against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import grpc
import pytest

from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.suppression.v1 import suppression_pb2
from clarion.suppression.v1 import suppression_service_pb2 as pb
from clarion.suppression.v1 import suppression_service_pb2_grpc as pb_grpc
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_client import Client, addresses
from clarion_local.authority import Authority
from clarion_local.cli.connection import STACK_FILE

from .scripted_stack import clarion, scripted_stack

Context = grpc.ServicerContext
PHONE = "+821012345678"


def entry(number: int) -> suppression_pb2.Suppressed:
    made = suppression_pb2.Suppressed(
        channel=channel_pb2.CHANNEL_SMS,
        reason=suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
        source=suppression_pb2.SUPPRESSION_SOURCE_INBOUND_SMS,
        note=f"n{number}\x1b[2J",
    )
    made.address.sms.e164 = f"+82101234{number:04}"
    made.since.FromSeconds(1_900_000_000)
    return made


class Gateway(auth_service_pb2_grpc.AuthServiceServicer, pb_grpc.SuppressionServiceServicer):
    """Has `entries` entries and remembers what it was asked."""

    def __init__(self) -> None:
        self.entries = [entry(number) for number in range(7)]
        self.lists: list[pb.ListSuppressedRequest] = []
        self.added: list[pb.SuppressRequest] = []
        self.removed: list[pb.UnsuppressRequest] = []

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def Suppress(self, request: pb.SuppressRequest, context: Context) -> pb.SuppressResponse:
        self.added.append(request)
        return pb.SuppressResponse()

    def Unsuppress(self, request: pb.UnsuppressRequest, context: Context) -> pb.UnsuppressResponse:
        self.removed.append(request)
        return pb.UnsuppressResponse()

    def ListSuppressed(self, request: pb.ListSuppressedRequest, context: Context) -> pb.ListSuppressedResponse:
        self.lists.append(pb.ListSuppressedRequest.FromString(request.SerializeToString()))
        start = int(request.page_token or "0")
        end = start + request.page_size
        more = str(end) if end < len(self.entries) else ""
        return pb.ListSuppressedResponse(suppressed=self.entries[start:end], next_page_token=more)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, gateway: Gateway, authority: Authority) -> Iterator[Path]:
    """The folder of a local stack whose gateway is ours."""
    services = (
        partial(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, gateway),
        partial(pb_grpc.add_SuppressionServiceServicer_to_server, gateway),
    )
    with scripted_stack(tmp_path, authority, *services) as folder:
        yield folder


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ([PHONE], addresses.phone(PHONE)),
        (["anna@example.org"], addresses.mail("anna@example.org")),
        (["ab12", "--channel", "ios"], addresses.ios("ab12")),
        (["token", "--channel", "android"], addresses.android("token")),
        (["0101", "--channel", "sms"], addresses.phone("0101")),
    ],
)
def test_address_says_its_channel_or_is_told(
    stack: Path, gateway: Gateway, arguments: Sequence[str], address: address_pb2.Address
) -> None:
    added = clarion(stack, "suppressions", "add", *arguments, "--note", "asked by mail")
    removed = clarion(stack, "suppressions", "remove", *arguments)

    assert (added.exit_code, removed.exit_code) == (0, 0)
    assert gateway.added == [pb.SuppressRequest(address=address, note="asked by mail")]
    assert gateway.removed == [pb.UnsuppressRequest(address=address)]


@pytest.mark.parametrize("arguments", [["ab12"], ["{}", "--channel", "web"], ["x", "--channel", "fax"], []])
def test_address_that_says_no_channel_is_a_usage_error(stack: Path, gateway: Gateway, arguments: Sequence[str]) -> None:
    assert clarion(stack, "suppressions", "add", *arguments).exit_code == 2
    assert gateway.added == []


def test_list_passes_its_filters_and_shows_no_control(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, "suppressions", "list", "--channel", "sms", "--reason", "stop-word", "--limit", "3")

    [asked] = gateway.lists
    assert (asked.channel, asked.reason, asked.page_size) == (
        channel_pb2.CHANNEL_SMS,
        suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
        3,
    )
    assert result.exit_code == 0
    for part in ("+821012340002", "stop word", "inbound sms", "2030-03-17"):
        assert part in result.stdout
    assert "+821012340003" not in result.stdout
    assert "\x1b[2J" not in result.stdout


def test_list_for_machines_is_one_entry_a_line(stack: Path) -> None:
    lines = [json.loads(line) for line in clarion(stack, "suppressions", "list", "--json").stdout.splitlines()]

    assert [line["address"]["sms"]["e164"] for line in lines] == [f"+82101234{number:04}" for number in range(7)]


def test_entry_without_address_and_words_of_newer_servers_are_shown(stack: Path, gateway: Gateway) -> None:
    erased = entry(1)
    erased.ClearField("address")
    erased.reason = 77  # type: ignore[assignment]  # as a newer server may send
    gateway.entries = [erased]

    shown = clarion(stack, "suppressions", "list").stdout

    assert "(removed)" in shown
    assert "77" in shown


def test_client_reads_page_after_page(stack: Path, gateway: Gateway) -> None:
    document = json.loads((stack / STACK_FILE).read_text())
    with Client.connect(document["gateway"], "ck_test", "cs_test", ca_file=document["ca_file"]) as client:
        found = list(client.suppressions.list(page_size=3))

    assert found == gateway.entries
    assert [asked.page_token for asked in gateway.lists] == ["", "3", "6"]
