"""Forwarding: what passes between a client and another daemon, and what does not."""

from pathlib import Path

import grpc
import pytest

from clarion.internal.template.v1.template_service_pb2 import Description
from clarion.preference.v1 import preference_service_pb2 as preference
from clarion.template.v1 import template_service_pb2 as template
from clarion_gateway import forward
from clarion_kit import mesh
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.sealing import KeyWrapper
from clarion_kit.tls import TlsFiles
from clarion_ledger.db import Pool
from clarion_local.authority import Authority

from .gateway_samples import Client, Gateway, Peers, notification, refusal, running, serving_peers

pytestmark = pytest.mark.asyncio(loop_scope="session")

PUT = "/clarion.template.v1.TemplateService/PutTemplate"


def as_is(message: bytes) -> bytes:
    return message


async def put(client: Client, *metadata: tuple[str, str], timeout: float | None = None) -> template.PutTemplateResponse:
    request = template.PutTemplateRequest(template=template.Template(name="welcome"))
    return await client.templates.PutTemplate(request, metadata=(*client.auth, *metadata), timeout=timeout)


async def test_answer_comes_back_as_the_peer_gave_it(gateway: Gateway) -> None:
    client = await gateway.app()

    answer = await put(client)

    assert answer == template.PutTemplateResponse(version=7, variables=["welcome", "größe"])


async def test_fields_that_the_gateway_does_not_know_pass_both_ways(gateway: Gateway) -> None:
    """Bytes are passed, so a newer client may talk to a newer daemon through an older gateway."""
    client = await gateway.app()
    call = gateway.channel.unary_unary(PUT, as_is, as_is)
    unknown = b"\xfa\x7f\x03new"

    answer = await call(unknown, metadata=client.auth)

    assert template.PutTemplateResponse.FromString(answer).version == 7


async def test_peer_learns_the_caller_from_the_token_alone(gateway: Gateway, peers: Peers) -> None:
    client = await gateway.app("template:write", "send:sms")

    await put(client, ("clarion-app", "999"), ("clarion-scopes", "admin"), ("clarion-key", "x"), ("clarion-else", "x"))

    ours = {key: value for key, value in peers.templates.seen[-1].metadata.items() if key.startswith("clarion-")}
    assert ours == {
        "clarion-app": str(client.app_id),
        "clarion-key": f"key-{client.app_id}",
        "clarion-scopes": "send:sms template:write",
    }


async def test_only_metadata_of_the_allow_list_passes(gateway: Gateway, peers: Peers) -> None:
    client = await gateway.app()
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

    await put(client, ("baggage", "a=1"), ("x-internal", "1"), ("cookie", "c"), ("traceparent", traceparent))

    seen = peers.templates.seen[-1].metadata
    assert seen["baggage"] == "a=1"
    assert not {"authorization", "x-internal", "cookie"} & seen.keys()
    assert seen["traceparent"].endswith("-00")


async def test_deadline_shrinks_on_the_way(gateway: Gateway, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "DEADLINE_MARGIN_SECONDS", 2.0)  # gRPC rounds deadlines up, by less than this
    client = await gateway.app()

    await put(client, timeout=5)
    await put(client)

    with_deadline, without = peers.templates.seen[-2:]
    assert 1 < with_deadline.remaining_seconds < 4
    assert 20 < without.remaining_seconds < 32


async def test_error_of_the_peer_passes_with_its_details(gateway: Gateway) -> None:
    client = await gateway.app()

    refused = await refusal(client.templates.GetTemplate(template.GetTemplateRequest(name="bye"), metadata=client.auth))

    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TEMPLATE_NOT_FOUND")
    assert refused.metadata == {"template": "bye"}


async def test_bare_error_of_the_peer_passes_as_it_is(gateway: Gateway) -> None:
    client = await gateway.app()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.templates.ListTemplates(template.ListTemplatesRequest(), metadata=client.auth)

    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "bare")


async def test_cancellation_reaches_the_peer(gateway: Gateway, peers: Peers) -> None:
    client = await gateway.app()
    call = client.templates.PreviewTemplate(template.PreviewTemplateRequest(name="n"), metadata=client.auth)
    await peers.templates.hanging.wait()

    call.cancel()

    await peers.templates.cancelled.wait()


async def test_peer_that_is_away_is_named(gateway: Gateway) -> None:
    client = await gateway.app()

    refused = await refusal(
        client.preferences.GetWishes(preference.GetWishesRequest(recipient_id="anna"), metadata=client.auth)
    )

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert refused.metadata == {"dependency": "preference"}


async def test_deadline_that_has_passed_is_refused(gateway: Gateway, peers: Peers) -> None:
    client = await gateway.app()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.templates.PreviewTemplate(template.PreviewTemplateRequest(), metadata=client.auth, timeout=0.2)

    assert refused.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


async def test_internal_methods_are_never_forwarded(gateway: Gateway) -> None:
    client = await gateway.app()
    for service in mesh.internal_services():
        for method in service.methods:
            call = gateway.channel.unary_unary(f"/{service.full_name}/{method.name}", as_is, as_is)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"", metadata=client.auth)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_tls_to_the_client_and_mutual_tls_to_the_peer(
    gateway_env: dict[str, str], ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys, tmp_path: Path
) -> None:
    authority = Authority.create(tmp_path / "ca")
    ours = authority.issue("gateway")
    authority.issue("template", dns=("template", "localhost"))
    peer_files = TlsFiles.in_dir(tmp_path / "ca" / "template")
    trusting = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    async with serving_peers(peer_files.mesh_server_credentials()) as secured:
        env = {**gateway_env, "CLARION_TLS_DIR": str(ours.key.parent), "CLARION_PEERS": secured.addresses()}
        del env["CLARION_INSECURE"]
        async with running(env, ledger, kek, token_keys, trusting) as gateway:
            client = await gateway.app()
            secured.describing.templates["welcome"] = Description(published_version=1, latest_version=1)

            sent = await client.send(notification(template={"name": "welcome"}))
            answer = await put(client)
            with pytest.raises(grpc.aio.AioRpcError) as plain:
                async with grpc.aio.insecure_channel(gateway.target) as channel:
                    await channel.unary_unary(PUT, as_is, as_is)(b"", timeout=2)

    assert sent.notification_id
    assert answer.version == 7
    assert plain.value.code() is grpc.StatusCode.UNAVAILABLE
