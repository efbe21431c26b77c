"""The shop's day on a running stack: set up, import, send, wait, and read both ledgers."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice

from rich.console import Console

from clarion.notification.v1.notification_service_pb2 import GetResponse
from clarion.recipient.v1.recipient_service_pb2 import Recipient
from clarion_client import AsyncClient
from clarion_kit.vocabulary import DeliveryState
from clarion_ledger import admin
from clarion_ledger.audit import Audit, audit
from clarion_ledger.db import Pool
from clarion_local.demo import dataset, record
from clarion_local.demo.matching import Mismatch, SentDelivery, compare
from clarion_local.demo.practice_room import Entry, PracticeRoom
from clarion_local.demo.progress import counting, watching
from clarion_local.demo.report import DeliveryFact
from clarion_local.demo.scenes.program import SUBSCRIBERS, play_all, play_night
from clarion_local.demo.scenes.scene import Stage, Told
from clarion_local.demo.sending import Handed, send_all, send_showcase
from clarion_local.demo.settling import open_mails, until_settled
from clarion_local.demo.shop import APP, Key, furnish, open_app, welcome
from clarion_local.demo.traffic import Traffic
from clarion_local.practice import Practice
from clarion_local.stack import Endpoints


@dataclass(frozen=True, slots=True)
class Played:
    """What both sides recorded. `taken`: messages the sandbox accepted; `call_seconds`: of each unary Send."""

    audit: Audit
    deliveries: list[DeliveryFact]
    mismatch: Mismatch
    taken: int
    call_seconds: list[float]
    showcase: GetResponse
    scenes: list[Told]


class Play:
    """One run. Needs the operators' key and the database of the stack."""

    def __init__(self, endpoints: Endpoints, practice: Practice, pool: Pool, console: Console) -> None:
        self._endpoints = endpoints
        self._practice = practice
        self._room = PracticeRoom(practice)
        self._pool = pool
        self._console = console

    async def run(self, recipients: int | None, notifications: int) -> Played:
        """Raises ClarionError, ImportFailed, LedgerUnavailable, OSError (the sandbox)."""
        people = await asyncio.to_thread(self._people, recipients)
        key = await self._open()
        app_id = await admin.app_id_of(self._pool, APP)
        async with self._client(key.app_key, key.app_secret) as client:
            await furnish(client)
            since = await record.now(self._pool)
            first = await asyncio.to_thread(self._room.entries)
            run = secrets.token_hex(4)
            stage = Stage(client, self._room, run)
            async with asyncio.TaskGroup() as group:
                night = group.create_task(play_night(stage))
                with counting(self._console, "Recipients", len(people)) as show:
                    await welcome(client, people, show)
                with self._console.status("Single people: a cap, a digest, escalations, a broadcast"):
                    scenes = await play_all(stage, [person.recipient_id for person in people[:SUBSCRIBERS]])
                handed, shown = await self._send(client, app_id, people, Traffic.of(run, notifications - 1), since)
            entries = await asyncio.to_thread(self._taken_since, first)
            mails = [entry.n for entry in entries if entry.kind == "smtp"]
            opened = await open_mails(self._room, mails, partial(record.seen, self._pool, app_id, since))
            self._console.print(f"{opened} mails opened, as the ledger saw it")
            audited = await audit(self._pool, since=since, app_id=app_id)
            deliveries = await record.deliveries(self._pool, app_id, since)
            return Played(
                audited,
                deliveries,
                compare(_sent(deliveries), [entry.as_message() for entry in entries]),
                len(entries),
                handed.call_seconds,
                await client.get(shown),
                [night.result(), *scenes],
            )

    def _people(self, count: int | None) -> list[Recipient]:
        browsers = dataset.sandbox_browsers(self._practice.vapid_public_key, self._practice.url)
        return list(dataset.recipients(islice(dataset.shipped_lines(), count), browsers))

    def _client(self, app_key: str, app_secret: str) -> AsyncClient:
        return AsyncClient.connect(self._endpoints.gateway, app_key, app_secret, ca_file=self._endpoints.ca_file)

    async def _open(self) -> Key:
        async with self._client(self._endpoints.admin_key, self._endpoints.admin_secret) as operator:
            return await open_app(operator, self._practice, self._endpoints.tracker_url)

    async def _send(
        self, client: AsyncClient, app_id: int, people: list[Recipient], traffic: Traffic, since: datetime
    ) -> tuple[Handed, str]:
        """What came of handing in, and the id of the notification to show. Returns when everything has settled."""
        handed = Handed()
        before = await asyncio.to_thread(self._room.accepted)
        with watching(self._console, traffic.count + 1) as progress:

            async def look() -> record.Pending:
                pending = await record.pending(self._pool, app_id, since)
                arrived = await asyncio.to_thread(self._room.accepted) - before
                progress.update(handed.accepted, arrived, pending)
                return pending

            shown = await send_showcase(client, traffic.run, people)
            handed.note(shown)
            async with asyncio.TaskGroup() as group:
                group.create_task(send_all(client, traffic, people, handed))
                settled = group.create_task(until_settled(look, lambda: not handed.finished))
            pending = settled.result()
        for error in handed.refused[:3]:
            self._console.print(f"[red]Refused:[/] {error}")
        if pending.total:
            self._console.print(f"[red]Gave up waiting:[/] {pending}")
        return handed, shown.notification_id

    def _taken_since(self, first: int) -> list[Entry]:
        return [entry for entry in self._room.ledger(first) if entry.accepted]


def _sent(deliveries: list[DeliveryFact]) -> list[SentDelivery]:
    """By message id alone: all five providers of the sandbox give one, so a delivery without is a mismatch."""
    return [
        SentDelivery(delivery.delivery_id, delivery.kind, delivery.message_id)
        for delivery in deliveries
        if delivery.state is DeliveryState.SENT
    ]
