import asyncio

import grpc

from clarion.internal.template.v1 import template_service_pb2 as internal
from clarion.internal.template.v1.template_service_pb2_grpc import TemplateServiceStub as InternalStub
from clarion.template.v1 import template_service_pb2 as pb
from clarion.template.v1.template_service_pb2_grpc import TemplateServiceStub
from clarion.types.v1.channel_pb2 import Channel
from clarion_kit import daemon
from clarion_local.ports import PortLease
from clarion_template.app import build
from clarion_template.settings import Settings
from clarion_testkit.plugin import Database


async def test_the_daemon_stores_and_renders_and_stops_when_told(database: Database) -> None:
    target = f"127.0.0.1:{PortLease().hand_over()}"
    environment = {"CLARION_INSECURE": "1", "CLARION_GRPC_LISTEN": target, "CLARION_DATABASE_URL": database.url}
    stopping = asyncio.Event()
    template = pb.Template(name="welcome")
    template.bodies.add(locale="en").content.sms.text = "Hi {{ name }}"
    template.sample_data.update({"name": "Ann"})
    item = internal.RenderRequest.Item(app_id=7, template="welcome", channels=[Channel.CHANNEL_SMS])
    item.data.update({"name": "Bob"})

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(daemon.run("template", Settings, build, env=environment, stopping=stopping))
        async with grpc.aio.insecure_channel(target) as channel:
            put = await TemplateServiceStub(channel).PutTemplate(
                pb.PutTemplateRequest(template=template), metadata=(("clarion-app", "7"),), wait_for_ready=True
            )
            rendered = await InternalStub(channel).Render(internal.RenderRequest(items=[item]))
        stopping.set()

    assert put.version == 1
    assert rendered.items[0].channels[0].content.sms.text == "Hi Bob"
