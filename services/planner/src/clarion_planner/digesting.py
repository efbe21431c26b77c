"""Closing digest windows: the newest notification goes for all of them, the others end MERGED into it.

A template gets `digest` in its data: how many notifications there were (`count`) and the data of the newest of them
(`items`). What cannot be rendered so, goes as it was planned.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion_kit.sealing import AppSealer, Unsealable
from clarion_kit.vocabulary import Channel, Gate, Reason, Verdict
from clarion_ledger import digests
from clarion_ledger.config import CategoryRule, ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.digests import MAX_ITEMS, Carrier, DueWindow, EndedMember, Member
from clarion_ledger.keys import KeyRing
from clarion_planner.cases import with_digest
from clarion_planner.content import Links, Own, excess, finished_mail, finished_push
from clarion_planner.domain import PUSH, GateNote
from clarion_planner.gates import trail
from clarion_planner.ports import RenderedTemplate, RenderQuery, Templates

log = logging.getLogger(__name__)

POLL = timedelta(milliseconds=200)
CLAIM = timedelta(seconds=10)
"""After it another planner closes what this one claimed."""
BATCH = 50
MAX_DATA_BYTES = 60 << 10
"""Of a template's data with its digest: a little less than the template service takes."""


@dataclass(frozen=True, slots=True)
class _Closing:
    """A window about to be closed: what goes, and what is merged into it."""

    window: DueWindow
    category: CategoryRule
    sealer: AppSealer
    going: tuple[Member, ...]
    newest: Notification | None
    query: RenderQuery | None


class Digests:
    """Closes windows that are due; any number of planners may."""

    def __init__(
        self, pool: Pool, keys: KeyRing, config: ConfigCache, templates: Templates, links: Links | None
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._config = config
        self._templates = templates
        self._links = links

    async def close_due(self) -> int:
        """Close what is due; gives how many windows. Raises LedgerUnavailable, DEPENDENCY_UNAVAILABLE."""
        closed = 0
        while windows := await digests.claim_due(self._pool, BATCH, CLAIM):
            closed += await self._close(windows)
            if len(windows) < BATCH:
                break
        return closed

    async def _close(self, windows: Sequence[DueWindow]) -> int:
        closings: list[_Closing] = []
        closed = 0
        for window in windows:
            refused = self._refused(window)
            if refused is not None or not window.members:
                ended = [_ended(member, *refused) for member in window.members] if refused is not None else []
                closed += await digests.close(self._pool, window.digest_id, [], ended)
                continue
            closings.append(await self._closing(window))
        queries = [closing.query for closing in closings if closing.query is not None]
        rendered = iter(await self._templates.render(queries) if queries else [])
        for closing in closings:
            answer = next(rendered) if closing.query is not None else RenderedTemplate(0, {})
            carriers = [Carrier(member.delivery_id, self._content(closing, member, answer)) for member in closing.going]
            merged = [_merged(member, closing.going) for member in closing.window.members[len(closing.going) :]]
            closed += await digests.close(self._pool, closing.window.digest_id, carriers, merged)
        return closed

    def _refused(self, window: DueWindow) -> tuple[Gate, Reason] | None:
        """Why nothing of a window goes any more: its app was switched off, or its category is gone."""
        snapshot = self._config.snapshot
        if window.app_id not in snapshot.enabled_apps:
            return Gate.APP, Reason.APP_DISABLED
        if window.category_id not in snapshot.categories_by_id:
            return Gate.CATEGORY, Reason.CATEGORY_DISABLED
        return None

    async def _closing(self, window: DueWindow) -> _Closing:
        sealer = await self._keys.sealer(window.app_id)
        category = self._config.snapshot.categories_by_id[window.category_id]
        first = window.members[0].notification_id
        going = tuple(member for member in window.members if member.notification_id == first)
        by_notification = {member.notification_id: member for member in reversed(window.members)}
        read = [_read(sealer, by_notification[id_]) for id_ in sorted(by_notification, reverse=True)[:MAX_ITEMS]]
        newest = read[0]
        query = None
        if len(by_notification) > 1 and newest is not None and newest.WhichOneof("body") == "template":
            query = _query(window, going, newest, [one for one in read if one is not None], len(by_notification))
        return _Closing(window, category, sealer, going, newest, query)

    def _content(self, closing: _Closing, member: Member, answer: RenderedTemplate) -> bytes | None:
        """Sealed; None: as it was planned."""
        content = answer.contents.get(member.channel)
        if content is None or content.failure or closing.newest is None:
            if content is not None and content.failure:
                log.warning("a digest goes as its newest notification: %s", content.failure)
            return None
        rendered = content.rendered
        lane = self._config.snapshot.lanes.get(member.lane_id)
        if lane is not None and excess(lane.kind, member.channel, rendered, member.delivery_id):
            return None
        own = Own(
            closing.category,
            member.delivery_id,
            member.channel,
            member.template_version,
            member.country,
            answer.track_links,
        )
        if member.channel is Channel.EMAIL:
            recipient_ref = closing.window.recipient_ref
            rendered = finished_mail(rendered, closing.newest.attachments, self._links, own, recipient_ref)
        elif member.channel in PUSH and lane is not None:
            rendered = finished_push(rendered, lane.kind, self._links, own)
        return closing.sealer.seal("delivery", member.delivery_id.bytes, "content", rendered)


def _read(sealer: AppSealer, member: Member) -> Notification | None:
    """What the client asked for, None where it is kept no more or cannot be read."""
    if not member.payload:
        return None
    try:
        return Notification.FromString(sealer.open("notification", member.event_id.encode(), "payload", member.payload))
    except (Unsealable, DecodeError) as unreadable:
        log.error("a member of a digest cannot be read: %s", type(unreadable).__name__)
        return None


def _query(
    window: DueWindow, going: Sequence[Member], newest: Notification, read: Sequence[Notification], count: int
) -> RenderQuery:
    template = newest.template
    items = [one.template.data for one in read if one.WhichOneof("body") == "template"]
    return RenderQuery(
        window.app_id,
        template.name,
        going[0].template_version or template.version,
        template.locale or going[0].locale,
        tuple(dict.fromkeys(member.channel for member in going)),
        _within_limit(template.data, items, count),
        window.time_zone,
    )


def _within_limit(data: Struct, items: list[Struct], count: int) -> Struct:
    """As many of the newest items as the data has room for."""
    while True:
        whole = with_digest(data, items, count)
        if whole.ByteSize() <= MAX_DATA_BYTES or not items:
            return whole
        items = items[: len(items) // 2]


def _merged(member: Member, going: Sequence[Member]) -> EndedMember:
    into = next(
        (one for one in going if one.address_id == member.address_id),
        next((one for one in going if one.channel is member.channel), going[0]),
    )
    return _ended(member, Gate.CONTENT_DEDUPE, Reason.MERGED, into.delivery_id)


def _ended(member: Member, gate: Gate, reason: Reason, into: UUID | None = None) -> EndedMember:
    rule = f"into {into}" if into is not None else reason.name.lower().replace("_", " ")
    gates = trail(gate, [GateNote(gate, Verdict.SUPPRESS, reason, rule)])
    return EndedMember(member.delivery_id, reason, into, gates, rule)
