"""The command against a whole mesh of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

CLARION = (sys.executable, "-m", "clarion_local.cli.main")
READY_SECONDS = 45
COMMAND_SECONDS = 30


def environment(folder: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
    return {**ours, "CLARION_FOLDER": str(folder)}


@asynccontextmanager
async def up(folder: Path) -> AsyncIterator[dict[str, object]]:
    """`clarion up`, ended by SIGINT as Ctrl-C would."""
    process = await asyncio.create_subprocess_exec(
        *CLARION, "up", "--all-in-one", "--json", env=environment(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        text = await asyncio.wait_for(process.stdout.readuntil(b"\n}\n"), READY_SECONDS)
        yield json.loads(text)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), COMMAND_SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def clarion(folder: Path, *arguments: str, text: str = "") -> tuple[int, str]:
    """Exit code and stdout of a command."""
    process = await asyncio.create_subprocess_exec(
        *CLARION,
        *arguments,
        env=environment(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stdout, _ = await asyncio.wait_for(process.communicate(text.encode()), COMMAND_SECONDS)
    return process.returncode or 0, stdout.decode()


@pytest.mark.timeout(180)
async def test_new_mesh_sends_and_accounts_for_it_with_nothing_but_the_command(tmp_path: Path) -> None:
    recipient = {"recipient_id": "u1", "addresses": [{"sms": {"e164": "+821012345678"}}]}
    async with up(tmp_path) as ready:
        assert ready["folder"] == str(tmp_path)

        stored, _ = await clarion(tmp_path, "recipients", "import", "-", text=json.dumps(recipient) + "\n")
        sending = ("send", "--to", "u1", "--category", "transactional", "--sms", "Hello", "--wait", "--json")
        sent, answer = await clarion(tmp_path, *sending)
        looked, queues = await clarion(tmp_path, "queues", "--json")
        sound, audit = await clarion(tmp_path, "audit", "--json")
        database_url = json.loads((tmp_path / "stack.json").read_text())["database_url"]
        database = await asyncpg.connect(database_url)
        await database.execute("DELETE FROM ledger.event WHERE kind = 2")
        await database.close()
        unsound, damaged = await clarion(tmp_path, "audit", "--json")

    assert (stored, sent, looked, sound) == (0, 0, 0, 0)
    assert [delivery["state"] for delivery in json.loads(answer)["deliveries"]] == ["DELIVERY_STATE_SENT"]
    assert {lane["waiting"] for lane in json.loads(queues)["lanes"]} == {0}
    assert (json.loads(audit)["accepted"], json.loads(audit)["unaccounted"]) == (1, 0)
    assert (unsound, json.loads(damaged)["findings"]) == (1, {"notification_without_accepted_event": 1})
