"""STOP and START from a phone to the suppression list, through the running daemons: by SMPP and by Twilio's webhook."""

import asyncio
import base64
import hashlib
import hmac
import importlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2

from clarion.internal.dispatch.v1 import dispatch_service_pb2 as dispatch
from clarion.internal.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from clarion.internal.preference.v1 import preference_service_pb2 as preference
from clarion.internal.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion.notification.v1 import state_pb2
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.recipient.v1.recipient_service_pb2_grpc import RecipientServiceStub
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_kit import daemon
from clarion_kit.bus import JetStreamBus
from clarion_kit.rpc.caller import Caller
from clarion_kit.sealing import recipient_reference
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel
from clarion_ledger import admin
from clarion_local.ports import PortLease
from clarion_testkit.plugin import App, Database
from clarion_testkit.smsc import Smsc, smsc

PREFIX = "stop-words"
PHONE = "+821012345678"
AUTH_TOKEN = "t" * 32
_UNTIL_APPLIED = """
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM tracking.inbound WHERE applied_at IS NULL) LOOP PERFORM pg_sleep(0.02); END LOOP;
END $$
"""


@dataclass(frozen=True, slots=True)
class World:
    """Preference, tracker and SMS dispatcher at work for an app with an account of each kind and one recipient."""

    database: Database
    app: App
    carrier: Smsc
    twilio_lane: int
    tracker_http: int
    preference: grpc.aio.Channel

    async def from_twilio(self, text: str, **more: str) -> bytes:
        """Post what a person wrote as Twilio does; gives the status line."""
        path = f"/v1/callbacks/twilio/{self.twilio_lane}"
        fields = {"MessageSid": f"SM{text}", "SmsStatus": "received", "From": PHONE, "To": "+15005550006", "Body": text}
        fields |= more
        signed = callback_url(self.twilio_lane) + "".join(name + fields[name] for name in sorted(fields))
        signature = base64.b64encode(hmac.digest(AUTH_TOKEN.encode(), signed.encode(), hashlib.sha1)).decode()
        body = urlencode(fields).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\n"
            f"x-twilio-signature: {signature}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self.tracker_http)
        writer.write(head.encode() + body)
        async with asyncio.timeout(10):
            line = await reader.readline()
        writer.close()
        return line

    async def gate(self) -> int:
        """Which gate is closed for an SMS to the recipient, once everything that came in was applied."""
        waiting = await asyncpg.connect(self.database.url)
        try:
            await waiting.execute(_UNTIL_APPLIED, timeout=60)
        finally:
            await waiting.close()
        query = preference.ResolveRequest.Query(
            app_id=self.app.app_id,
            recipient_ref=recipient_reference(self.app.app_id, "anna"),
            category="transactional",
            critical=True,
            channels=[channel_pb2.CHANNEL_SMS],
        )
        answer = await PreferenceServiceStub(self.preference).Resolve(preference.ResolveRequest(queries=[query]))
        [found] = answer.resolved
        return found.channels[0].gate

    async def reasons(self) -> list[tuple[int, int, bool]]:
        rows = await self.database.pool.fetch("SELECT reason, source, listed FROM preference.suppression")
        return [(row["reason"], row["source"], row["listed"]) for row in rows]


def callback_url(lane_id: int) -> str:
    return f"https://t.example.com/v1/callbacks/twilio/{lane_id}"


@asynccontextmanager
async def running(name: str, role: str, port: PortLease, env: dict[str, str]) -> AsyncIterator[grpc.aio.Channel]:
    """A daemon of the mesh that is ready, and a channel to it."""
    composition = importlib.import_module(f"clarion_{name}.app")
    settings = importlib.import_module(f"clarion_{name}.settings").Settings
    target = f"127.0.0.1:{port.hand_over()}"
    url = f"{env['CLARION_DATABASE_URL']}?role=clarion_{role}"
    own = env | {"CLARION_DATABASE_URL": url, "CLARION_GRPC_LISTEN": target}
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run(name, settings, composition.build, env=own, stopping=stopping))
        try:
            async with grpc.aio.insecure_channel(target) as channel:
                await _ready(channel)
                yield channel
        finally:
            stopping.set()


@pytest.fixture
async def world(
    database: Database, app: App, nats_url: str, kek_file: Path, telemetry: Telemetry
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus.connect(nats_url, "test", Subjects(PREFIX), telemetry))
        await bus.ensure_topology()
        carrier = await stack.enter_async_context(smsc())
        ports = [stack.enter_context(PortLease()) for _ in range(4)]
        smpp_lane, twilio_lane = await _accounts(database, app, carrier.port)
        env = {
            "CLARION_DATABASE_URL": database.url,
            "CLARION_NATS_URL": nats_url,
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_SUBJECT_PREFIX": PREFIX,
            "CLARION_INSECURE": "1",
            "CLARION_STOP_GRACE_SECONDS": "5",
            "CLARION_PEERS": json.dumps({"preference": f"127.0.0.1:{ports[0].port}"}),
        }
        http = f"127.0.0.1:{ports[3].hand_over()}"
        people = await stack.enter_async_context(running("preference", "preference", ports[0], env))
        await stack.enter_async_context(running("tracker", "tracker", ports[1], env | {"CLARION_HTTP_LISTEN": http}))
        sender = await stack.enter_async_context(running("dispatcher_sms", "dispatcher", ports[2], env))
        await _recipient(people, app)
        probed = await DispatchServiceStub(sender).Probe(dispatch.ProbeRequest(lane_id=smpp_lane), timeout=20)
        assert probed.ok, probed.detail
        yield World(database, app, carrier, twilio_lane, ports[3].port, people)


async def _accounts(database: Database, app: App, smsc_port: int) -> tuple[int, int]:
    sealer = await app.keys.sealer(app.app_id)
    smpp: dict[str, object] = {
        "host": "127.0.0.1",
        "port": smsc_port,
        "system_id": "clarion",
        "source": "Shop",
        "binds": 1,
    }
    twilio: dict[str, object] = {"account_sid": "AC" + "0" * 32, "auth_token": AUTH_TOKEN, "sender": "+15005550006"}

    async def put(kind: str, document: dict[str, object]) -> int:
        settings = json.dumps(document).encode()
        return await admin.put_lane(database.pool, sealer, app.app_id, kind, kind, Channel.SMS, settings, enabled=True)

    smpp_lane, twilio_lane = await put("smpp", smpp), await put("twilio", twilio)
    # The URL that Twilio calls names the account, which has to be there first.
    await put("twilio", twilio | {"status_callback": callback_url(twilio_lane)})
    return smpp_lane, twilio_lane


async def _recipient(people: grpc.aio.Channel, app: App) -> None:
    phone = address_pb2.Address(sms=address_pb2.PhoneNumber(e164=PHONE))
    request = recipient.UpsertRecipientRequest(recipient=recipient.Recipient(recipient_id="anna", addresses=[phone]))
    metadata = Caller("gateway", app.app_id, "key", frozenset({"recipient:write"})).metadata()
    await RecipientServiceStub(people).UpsertRecipient(request, metadata=metadata, timeout=20)


async def _ready(channel: grpc.aio.Channel) -> None:
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(), timeout=30, wait_for_ready=True)
    async for answer in watch:
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
    raise AssertionError("the daemon never got ready")


async def test_stop_and_start_reach_the_suppression_list_whichever_carrier_brings_them(world: World) -> None:
    closed, open_ = state_pb2.GATE_SUPPRESSION_LIST, state_pb2.GATE_UNSPECIFIED
    seen = [await world.gate()]

    await world.carrier.write(PHONE, "Please stop by")
    seen.append(await world.gate())
    await world.carrier.write(PHONE, " stop ")
    seen.append(await world.gate())
    assert await world.reasons() == [(2, 2, True)]
    assert b" 204 " in await world.from_twilio("START")
    seen.append(await world.gate())
    assert b" 204 " in await world.from_twilio("Arrêt")
    seen.append(await world.gate())
    await world.carrier.write(PHONE, "UNSTOP")
    seen.append(await world.gate())

    assert seen == [open_, open_, closed, open_, closed, open_]
    assert await world.reasons() == [(2, 2, False)]
