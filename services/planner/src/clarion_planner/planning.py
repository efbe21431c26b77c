"""Planning a batch: resolve, render, route, cap, and one transaction for all of it.

What is planned twice (a message delivered again, two replicas) makes nothing new: delivery ids are derived and the
ledger gives each notification to one plan. A notification that cannot be planned is tried alone, and after some tries
ends with a suppressed delivery that says so.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from random import Random
from typing import TypeAlias
from uuid import UUID

from google.protobuf.message import DecodeError

from clarion.notification.v1.notification_service_pb2 import ChannelMode, Notification
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.sealing import AppSealer, Unsealable, recipient_reference
from clarion_kit.vocabulary import Channel, Gate, Reason, Verdict
from clarion_ledger import planning, stops
from clarion_ledger.config import CategoryRule, ConfigCache, Snapshot
from clarion_ledger.db import Pool
from clarion_ledger.ids import delivery_id
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan
from clarion_ledger.routing import choose_lane
from clarion_planner.content import OpenPixels, literal_contents, sms_segments, with_open_pixel
from clarion_planner.domain import (
    Candidate,
    Closed,
    Content,
    GateNote,
    Recipient,
    Suppressed,
    Wanted,
    channels_to_render,
    decide,
    keep_first_channel,
)
from clarion_planner.gates import trail
from clarion_planner.ports import (
    Budgets,
    CapAnswer,
    CapQuery,
    Caps,
    Preferences,
    RenderQuery,
    ResolveQuery,
    SmsCharge,
    Templates,
)

log = logging.getLogger(__name__)

POISON_TRIES = 5
NOBODY = bytes(16)


@dataclass(frozen=True, slots=True)
class Job:
    """A notification with everything of its app that planning needs."""

    source: ToPlan
    notification: Notification
    category: CategoryRule
    sealer: AppSealer
    wanted: Wanted
    app_enabled: bool


@dataclass(slots=True)
class _Case:
    """One recipient of a job on its way through the gates."""

    job: Job
    recipient: Recipient
    candidates: list[Candidate]
    suppressed: list[Suppressed]
    template_version: int | None = None


_Routed: TypeAlias = tuple[_Case, Candidate, int, UUID]
"""A candidate with its lane and the id of its delivery; those of one case stand together."""


class Planning:
    """Turns accepted notifications into deliveries."""

    def __init__(
        self,
        pool: Pool,
        keys: KeyRing,
        config: ConfigCache,
        preferences: Preferences,
        templates: Templates,
        caps: Caps,
        budgets: Budgets,
        pixels: OpenPixels | None,
        random: Random | None = None,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._config = config
        self._preferences = preferences
        self._templates = templates
        self._caps = caps
        self._budgets = budgets
        self._pixels = pixels
        self._random = random or Random()
        self._stopped: frozenset[int] = frozenset()

    async def look_at_stops(self) -> None:
        """Learn which accounts are stopped: others serve in their place. Raises LedgerUnavailable."""
        self._stopped = frozenset(await stops.stopped(self._pool))

    async def plans(self, sources: Sequence[ToPlan]) -> list[Plan]:
        """A plan for each source, made together; alone where that fails. Raises DEPENDENCY_UNAVAILABLE, Unavailable."""
        try:
            return await self._plans(sources)
        except (DomainError, Unavailable):
            raise
        except Exception as defect:  # one of them is poison: find it, plan the others
            if len(sources) > 1:
                half = len(sources) // 2
                return [*await self.plans(sources[:half]), *await self.plans(sources[half:])]
            return await self.poisoned(sources[0], defect)

    async def poisoned(self, source: ToPlan, defect: Exception) -> list[Plan]:
        """Call while handling the defect of one notification. The try is counted; the last one ends in a plan that says
        so. Raises LedgerUnavailable."""
        log.exception("a notification cannot be planned", extra={"notification_id": str(source.notification_id)})
        if source.tries + 1 >= POISON_TRIES:
            return [_unplannable(source, f"planning failed: {type(defect).__name__}")]
        await planning.count_try(self._pool, [source.notification_id])
        return []

    async def _plans(self, sources: Sequence[ToPlan]) -> list[Plan]:
        jobs: list[Job] = []
        plans: list[Plan] = []
        for source in sources:
            try:
                jobs.append(await self._job(source))
            except (Unsealable, KeyError, DecodeError) as unreadable:
                log.error("a notification cannot be read: %s", type(unreadable).__name__)
                plans.append(_unplannable(source, f"unreadable: {type(unreadable).__name__}"))
        resolved_at = time.monotonic()
        cases = await self._resolve(jobs)
        await self._render(cases)
        deliveries = await self._deliver(cases)
        for job in jobs:
            id_ = job.source.notification_id
            plans.append(
                Plan(
                    job.source,
                    deliveries[id_],
                    max_attempts=job.category.max_attempts,
                    at_most_once=job.category.at_most_once,
                    collapse_key=job.notification.collapse_key,
                    resolved_at=resolved_at,
                )
            )
        return plans

    async def _job(self, source: ToPlan) -> Job:
        snapshot = self._config.snapshot
        sealer = await self._keys.sealer(source.app_id)
        payload = sealer.open("notification", source.event_id.encode(), "payload", source.payload)
        notification = Notification.FromString(payload)
        category = snapshot.categories_by_id.get(source.category_id)
        if category is None:
            snapshot = await self._config.look_again()
            category = snapshot.categories_by_id[source.category_id]
        return Job(
            source, notification, category, sealer, _wanted(notification), source.app_id in snapshot.enabled_apps
        )

    async def _resolve(self, jobs: Sequence[Job]) -> list[_Case]:
        asked: list[tuple[Job, ResolveQuery]] = []
        cases: list[_Case] = []
        for job in jobs:
            allowed = _allowed(job)
            for recipient_id in job.notification.recipient_ids:
                ref = recipient_reference(job.source.app_id, recipient_id)
                if allowed:
                    asked.append((job, ResolveQuery(job.source.app_id, ref, job.category, allowed)))
                else:
                    cases.append(_Case(job, Recipient(ref, found=True), [], _forbidden(job)))
        recipients = await self._preferences.resolve([query for _, query in asked])
        for (job, query), recipient in zip(asked, recipients, strict=True):
            forbidden = _forbidden(job) if len(query.channels) < len(job.wanted.channels) else []
            cases.append(_Case(job, recipient, [], forbidden))
        return cases

    async def _render(self, cases: Sequence[_Case]) -> None:
        queries: dict[tuple[object, ...], RenderQuery] = {}
        keys: list[tuple[object, ...] | None] = []
        for case in cases:
            query = _render_query(case)
            key: tuple[object, ...] | None = None
            if query is not None:
                key = (case.job.source.notification_id, query.locale, query.channels)
                queries.setdefault(key, query)
            keys.append(key)
        rendered = dict(zip(queries, await self._templates.render(list(queries.values())), strict=True))
        for case, key in zip(cases, keys, strict=True):
            contents: Mapping[Channel, Content | None] = {}
            if key is not None:
                contents = rendered[key].contents
                case.template_version = rendered[key].version or None
            elif case.job.notification.WhichOneof("body") == "content":
                contents = literal_contents(case.job.notification.content)
            allowed = _allowed(case.job)
            if not allowed:
                continue
            wanted = replace(case.job.wanted, channels=allowed)
            candidates, suppressed = decide(wanted, case.recipient, contents)
            case.candidates = candidates
            case.suppressed += suppressed

    async def _deliver(self, cases: Sequence[_Case]) -> dict[UUID, list[PlannedDelivery]]:
        deliveries: dict[UUID, list[PlannedDelivery]] = {case.job.source.notification_id: [] for case in cases}
        for case in cases:
            for suppressed in case.suppressed:
                deliveries[case.job.source.notification_id].append(_suppressed(case, suppressed))
        routed: list[_Routed] = []
        for case, candidate, lane_id in await self._route(cases):
            if lane_id is None:
                closed = Suppressed(candidate.channel, Closed(Gate.ROUTE, Reason.NO_ROUTE))
                deliveries[case.job.source.notification_id].append(_suppressed(case, closed, candidate))
            else:
                routed.append((case, candidate, lane_id, _id(case, candidate.channel, candidate)))
        routed, passed_over = _first_channels(routed)
        for case, suppressed in passed_over:
            deliveries[case.job.source.notification_id].append(_suppressed(case, suppressed))
        asked = [query for case, candidate, _, id_ in routed if (query := _cap_query(case, candidate, id_)).caps]
        answers = await self._caps.acquire(asked)
        by_delivery = {query.delivery_id: answer for query, answer in zip(asked, answers, strict=True)}
        by_delivery |= await self._spend(routed, by_delivery)
        for case, candidate, lane_id, id_ in routed:
            answer = by_delivery.get(id_, CapAnswer(True))
            deliveries[case.job.source.notification_id].append(self._planned(case, candidate, lane_id, id_, answer))
        return deliveries

    async def _spend(self, routed: Sequence[_Routed], capped: Mapping[UUID, CapAnswer]) -> dict[UUID, CapAnswer]:
        """What the budgets say of the SMS that caps let through."""
        passed = {id_: capped.get(id_, CapAnswer(True)) for _, _, _, id_ in routed}
        charges = [
            _sms_charge(case, candidate, id_)
            for case, candidate, _, id_ in routed
            if candidate.channel is Channel.SMS and passed[id_].allowed
        ]
        answers = await self._budgets.charge(charges)
        return {
            charge.delivery_id: replace(answer, unchecked=answer.unchecked or passed[charge.delivery_id].unchecked)
            for charge, answer in zip(charges, answers, strict=True)
        }

    async def _route(self, cases: Sequence[_Case]) -> list[tuple[_Case, Candidate, int | None]]:
        """Every candidate with its lane. An account put a moment ago is looked for once more before there is none."""
        routed = self._lanes(cases, self._config.snapshot)
        if any(lane_id is None for _, _, lane_id in routed):
            routed = self._lanes(cases, await self._config.look_again())
        return routed

    def _lanes(self, cases: Sequence[_Case], snapshot: Snapshot) -> list[tuple[_Case, Candidate, int | None]]:
        return [
            (
                case,
                candidate,
                choose_lane(
                    snapshot,
                    case.job.source.app_id,
                    candidate.channel,
                    country=case.recipient.country,
                    locale=case.recipient.locale,
                    hint=candidate.address.hint,
                    random=self._random,
                    avoid=self._stopped,
                ),
            )
            for case in cases
            for candidate in case.candidates
        ]

    def _planned(
        self, case: _Case, candidate: Candidate, lane_id: int, id_: UUID, answer: CapAnswer
    ) -> PlannedDelivery:
        if not answer.allowed:
            closed = Suppressed(candidate.channel, Closed(Gate.CAPS, Reason.CAPPED, answer.rule))
            return _suppressed(case, closed, candidate)
        notes: list[GateNote] = []
        if answer.unchecked or answer.rule:
            verdict = Verdict.PASS_UNCHECKED if answer.unchecked else Verdict.PASS
            notes.append(GateNote(Gate.CAPS, verdict, rule=answer.rule))
        content = candidate.content.rendered
        if self._pixels is not None and candidate.channel is Channel.EMAIL:
            content = with_open_pixel(
                content, self._pixels, case.job.category, id_, case.template_version, case.recipient.country
            )
        return PlannedDelivery(
            id_,
            UUID(bytes=case.recipient.ref),
            candidate.channel,
            address_id=UUID(bytes=candidate.address.address_id),
            lane_id=lane_id,
            address=candidate.address.sealed,
            content=case.job.sealer.seal("delivery", id_.bytes, "content", content),
            gates=trail(Gate.CAPS, notes),
            template_version=case.template_version,
            country=case.recipient.country or None,
            wishes_revision=case.recipient.revision,
            locale=case.recipient.locale,
            hint=candidate.address.hint,
        )


def _first_channels(routed: Sequence[_Routed]) -> tuple[list[_Routed], list[tuple[_Case, Suppressed]]]:
    """FIRST_AVAILABLE: of a recipient's channels that have a route the first serves; the others are not chosen."""
    kept: list[_Routed] = []
    passed_over: list[tuple[_Case, Suppressed]] = []
    for _, group in groupby(routed, key=lambda entry: id(entry[0])):
        entries = list(group)
        case, first, *_ = entries[0]
        if case.job.wanted.first_only:
            _, others = keep_first_channel([candidate for _, candidate, _, _ in entries])
            passed_over += [(case, other) for other in others]
            entries = [entry for entry in entries if entry[1].channel is first.channel]
        kept += entries
    return kept, passed_over


def _wanted(notification: Notification) -> Wanted:
    policy = notification.channel_policy
    first_only = policy.mode == ChannelMode.CHANNEL_MODE_FIRST_AVAILABLE
    if policy.channels:
        return Wanted(tuple(Channel(channel) for channel in policy.channels), True, first_only)
    channels = tuple(Channel)
    if notification.WhichOneof("body") == "content":
        content = literal_contents(notification.content)
        channels = tuple(channel for channel in Channel if channel in content)
    return Wanted(channels, False, first_only)


def _allowed(job: Job) -> tuple[Channel, ...]:
    """Wanted channels that app and category let through."""
    if not job.app_enabled:
        return ()
    allowed = job.category.channels
    return tuple(channel for channel in job.wanted.channels if not allowed or channel in allowed)


def _forbidden(job: Job) -> list[Suppressed]:
    """What app or category stop: every channel of a disabled app, those asked for by name, or one where none is left."""
    if not job.app_enabled:
        closed = Closed(Gate.APP, Reason.APP_DISABLED)
        return [Suppressed(channel, closed) for channel in job.wanted.channels[: None if job.wanted.explicit else 1]]
    closed = Closed(Gate.CATEGORY, Reason.CATEGORY_DISABLED, f"category {job.category.name}")
    stopped = [Suppressed(channel, closed) for channel in job.wanted.channels if channel not in _allowed(job)]
    if job.wanted.explicit:
        return stopped
    return [] if _allowed(job) else stopped[:1]


def _render_query(case: _Case) -> RenderQuery | None:
    if case.job.notification.WhichOneof("body") != "template" or not case.recipient.found:
        return None
    wanted = replace(case.job.wanted, channels=_allowed(case.job))
    channels = channels_to_render(wanted, case.recipient)
    if not channels:
        return None
    template = case.job.notification.template
    return RenderQuery(
        case.job.source.app_id,
        template.name,
        template.version,
        template.locale or case.recipient.locale,
        channels,
        template.data,
    )


def _id(case: _Case, channel: Channel, candidate: Candidate | None) -> UUID:
    address = UUID(bytes=candidate.address.address_id) if candidate is not None else None
    return delivery_id(case.job.source.notification_id, UUID(bytes=case.recipient.ref), channel, address)


def _suppressed(case: _Case, suppressed: Suppressed, candidate: Candidate | None = None) -> PlannedDelivery:
    closed = suppressed.closed
    note = GateNote(closed.gate, Verdict.SUPPRESS, closed.reason, closed.rule)
    return PlannedDelivery(
        _id(case, suppressed.channel, candidate),
        UUID(bytes=case.recipient.ref),
        suppressed.channel,
        reason=closed.reason,
        gates=trail(closed.gate, [note]),
        template_version=case.template_version,
        country=case.recipient.country or None,
    )


def _cap_query(case: _Case, candidate: Candidate, id_: UUID) -> CapQuery:
    category = case.job.category
    caps = tuple(cap for cap in category.caps if cap.channel in (None, candidate.channel))
    return CapQuery(case.job.source.app_id, id_, case.recipient.ref, category.name, candidate.channel, caps)


def _sms_charge(case: _Case, candidate: Candidate, id_: UUID) -> SmsCharge:
    return SmsCharge(
        app_id=case.job.source.app_id,
        delivery_id=id_,
        address_id=candidate.address.address_id,
        hint=candidate.address.hint,
        country=case.recipient.country,
        segments=sms_segments(candidate.content.rendered),
        critical=case.job.category.critical,
    )


def _unplannable(source: ToPlan, rule: str) -> Plan:
    nobody = UUID(bytes=NOBODY)
    note = GateNote(Gate.RENDER, Verdict.SUPPRESS, Reason.RENDER_FAILED, rule)
    delivery = PlannedDelivery(
        delivery_id(source.notification_id, nobody, Channel.IOS, None),
        nobody,
        Channel.IOS,
        reason=Reason.RENDER_FAILED,
        gates=trail(Gate.RENDER, [note]),
    )
    return Plan(source, [delivery], max_attempts=1, at_most_once=False)
