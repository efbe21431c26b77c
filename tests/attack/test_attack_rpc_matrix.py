"""The matrix of every RPC, in its short form."""

import pytest
from google.protobuf.message import DecodeError

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_kit import mesh

from . import rpc_matrix
from .filling import filled, leaves, nested, padded, with_text
from .finding import Size
from .report import CASES, minimums
from .stage import Stage


@pytest.mark.asyncio(loop_scope="session")
async def test_nobody_gets_past_any_rpc(stage: Stage) -> None:
    found = await rpc_matrix.attack(stage, Size.SHORT)

    assert "\n".join(found.escapes) == ""
    assert found.tries >= minimums()["rpc_matrix"]


def test_every_rpc_of_the_contracts_is_in_the_matrix() -> None:
    assert minimums()["rpc_matrix"] >= CASES * 90
    assert {method.path for _, method in rpc_matrix.public()} == set(mesh.public_methods())


def test_request_with_one_text_is_what_the_contract_reads() -> None:
    for descriptor, _ in rpc_matrix.public():
        kind = type(filled(descriptor, lambda field: None, 0))
        for leaf in leaves(descriptor.input_type):
            assert b"needle" in kind.FromString(with_text(leaf, b"needle")).SerializeToString(), (
                descriptor.full_name,
                leaf,
            )


def test_nested_request_is_one_that_no_parser_takes() -> None:
    descriptor = pb.SendRequest.DESCRIPTOR
    [request] = nested(descriptor)

    with pytest.raises(DecodeError):
        pb.SendRequest.FromString(request)


def test_padded_request_is_a_message_of_any_contract() -> None:
    for descriptor, method in rpc_matrix.public():
        assert type(filled(descriptor, lambda field: None, 0)).FromString(padded(100)).ByteSize() > 100, method.path
