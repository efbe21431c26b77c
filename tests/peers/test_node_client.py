"""Another language, another HTTP/2 stack: a Node client sends with nothing but the protos."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from google.rpc import status_pb2

from clarion_local.stack import Stack
from clarion_testkit.shop import open_shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

HERE = Path(__file__).resolve().parent
PROTOS = HERE.parents[1] / "protos"


async def test_node_client_sends_from_the_protos_alone(stack: Stack, node_modules: Path) -> None:
    async with open_shop(stack, "from-node") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1", android="node-device-" + "x" * 60))

        client = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "node_client.js"),
            stack.endpoints.gateway,
            stack.endpoints.ca_file,
            shop.app_key,
            shop.app_secret,
            str(PROTOS),
            str(Path(status_pb2.__file__).parents[2]),
            env={**os.environ, "NODE_PATH": str(node_modules)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(client.communicate(), 40)

    assert client.returncode == 0, errors.decode()
    told = json.loads(out)
    assert told == {
        "same": True,
        "duplicate": True,
        "refusal": "3 1",
        "state": "NOTIFICATION_STATE_DONE",
        "deliveries": ["DELIVERY_STATE_SENT"],
    }
