"""Planning a batch: resolve, render, route, cap, and one transaction for all of it.

What is planned twice (a message delivered again, two replicas) makes nothing new: delivery ids are derived and the
ledger gives each notification to one plan. A notification that cannot be planned is tried alone, and after some tries
ends with a suppressed delivery that says so.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from random import Random
from uuid import UUID

from google.protobuf.message import DecodeError

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.number_hint import read_hint
from clarion_kit.sealing import AppSealer, Unsealable, recipient_reference
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import Channel, Gate, Reason, Verdict
from clarion_ledger import planning, stops
from clarion_ledger.config import ConfigCache, Snapshot
from clarion_ledger.db import Pool
from clarion_ledger.ids import delivery_id, uuid_of
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan
from clarion_ledger.routing import choose_lane
from clarion_planner.cases import (
    Case,
    Decided,
    Job,
    Routed,
    cap_query,
    decided,
    derived_id,
    first_channels,
    forbidden_channels,
    in_steps,
    meant_channels,
    planned,
    quiet_gate,
    render_query,
    sms_charge,
    suppressed_delivery,
    wanted_channels,
    wanted_of,
)
from clarion_planner.content import Links, Own, excess, finished_mail, finished_push, literal_contents
from clarion_planner.domain import PUSH, Candidate, Closed, Content, GateNote, Recipient, Suppressed, decide
from clarion_planner.gates import trail
from clarion_planner.ports import Budgets, CapAnswer, Caps, Preferences, RenderQuery, ResolveQuery, Templates
from clarion_planner.timing import not_before
from clarion_planner.turns import Pause, no_pause

log = logging.getLogger(__name__)

POISON_TRIES = 5
NOBODY = bytes(16)
_PASSED = CapAnswer(True)


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
        links: Links | None,
        random: Random | None = None,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._config = config
        self._preferences = preferences
        self._templates = templates
        self._caps = caps
        self._budgets = budgets
        self._links = links
        self._random = random or Random()
        self._verdicts = metrics.counter(names.CAP_VERDICTS) if metrics is not None else None
        self._stopped: frozenset[int] = frozenset()

    @property
    def stopped(self) -> frozenset[int]:
        """Accounts that were stopped when they were last looked at."""
        return self._stopped

    async def look_at_stops(self) -> None:
        """Learn which accounts are stopped: others serve in their place. Raises LedgerUnavailable."""
        self._stopped = frozenset(await stops.stopped(self._pool))

    async def plans(self, sources: Sequence[ToPlan], pause: Pause = no_pause) -> list[Plan]:
        """A plan for each source, made together; alone where that fails. Raises DEPENDENCY_UNAVAILABLE, Unavailable."""
        try:
            return await self._plans(sources, pause)
        except (DomainError, Unavailable):
            raise
        except Exception as defect:  # one of them is poison: find it, plan the others
            if len(sources) > 1:
                half = len(sources) // 2
                return [*await self.plans(sources[:half], pause), *await self.plans(sources[half:], pause)]
            return await self.poisoned(sources[0], defect)

    async def poisoned(self, source: ToPlan, defect: Exception) -> list[Plan]:
        """Call while handling the defect of one notification. The try is counted; the last one ends in a plan that says
        so. Raises LedgerUnavailable."""
        log.exception("a notification cannot be planned", extra={"notification_id": str(source.notification_id)})
        if source.tries + 1 >= POISON_TRIES:
            return [_unplannable(source, f"planning failed: {type(defect).__name__}")]
        await planning.count_try(self._pool, [source.notification_id])
        return []

    async def _plans(self, sources: Sequence[ToPlan], pause: Pause) -> list[Plan]:
        jobs: list[Job] = []
        plans: list[Plan] = []
        await pause()
        for source in sources:
            try:
                jobs.append(await self._job(source))
            except (Unsealable, KeyError, DecodeError) as unreadable:
                log.error("a notification cannot be read: %s", type(unreadable).__name__)
                plans.append(_unplannable(source, f"unreadable: {type(unreadable).__name__}"))
        return [*plans, *await self.plan_jobs(jobs, pause)]

    async def plan_jobs(self, jobs: Sequence[Job], pause: Pause = no_pause, *, dry: bool = False) -> list[Plan]:
        """A plan for each job. `dry` takes no cap and charges no budget: the plans only tell what would be. Raises
        DEPENDENCY_UNAVAILABLE, Unavailable."""
        resolved_at = time.monotonic()
        cases = await self._resolve(jobs, pause)
        await self._render(cases, pause)
        deliveries = await self._deliver(cases, dry=dry)
        return [
            Plan(
                job.source,
                deliveries[job.source.notification_id],
                max_attempts=job.category.max_attempts,
                at_most_once=job.category.at_most_once,
                collapse_key=job.notification.collapse_key,
                resolved_at=resolved_at,
                template=job.notification.template.name,
            )
            for job in jobs
        ]

    async def _job(self, source: ToPlan) -> Job:
        sealer = await self._keys.sealer(source.app_id, source.payload)
        payload = sealer.open("notification", source.event_id.encode(), "payload", source.payload)
        return await self.job(source, Notification.FromString(payload), sealer)

    async def job(self, source: ToPlan, notification: Notification, sealer: AppSealer) -> Job:
        """A notification with what planning needs of its app. Raises KeyError for a category that is not known,
        LedgerUnavailable."""
        snapshot = self._config.snapshot
        category = snapshot.categories_by_id.get(source.category_id)
        if category is None:
            snapshot = await self._config.look_again()
            category = snapshot.categories_by_id[source.category_id]
        wanted = wanted_channels(notification)
        app_enabled = source.app_id in snapshot.enabled_apps
        return Job(
            source,
            notification,
            category,
            sealer,
            wanted,
            meant_channels(wanted, category, app_enabled=app_enabled),
            app_enabled,
            tuple([recipient_reference(source.app_id, recipient_id) for recipient_id in notification.recipient_ids]),
            source.notification_id,
            not_before(notification, category),
        )

    async def _resolve(self, jobs: Sequence[Job], pause: Pause) -> list[Case]:
        asked: list[tuple[Job, ResolveQuery]] = []
        cases: list[Case] = []
        for job in jobs:
            for ref in job.recipients:
                if job.meant.channels:
                    asked.append((job, ResolveQuery(job.source.app_id, ref, job.category, job.meant.channels)))
                else:
                    cases.append(Case(job, Recipient(ref, found=True), [], forbidden_channels(job)))
        recipients = await self._preferences.resolve([query for _, query in asked])
        await pause()
        for (job, _), recipient in zip(asked, recipients, strict=True):
            forbidden = forbidden_channels(job) if job.meant is not job.wanted else []
            cases.append(Case(job, recipient, [], forbidden))
        return cases

    async def _render(self, cases: Sequence[Case], pause: Pause) -> None:
        queries: dict[tuple[object, ...], RenderQuery] = {}
        keys: list[tuple[object, ...] | None] = []
        for case in cases:
            query = render_query(case)
            key: tuple[object, ...] | None = None
            if query is not None:
                key = (case.job.content_id, query.locale, query.time_zone, query.channels)
                queries.setdefault(key, query)
            keys.append(key)
        rendered = dict(zip(queries, await self._templates.render(list(queries.values())), strict=True))
        await pause()
        literal: dict[UUID, Mapping[Channel, Content | None]] = {}
        now = datetime.now(UTC)
        for case, key in zip(cases, keys, strict=True):
            contents: Mapping[Channel, Content | None] = {}
            if key is not None:
                answer = rendered[key]
                contents = answer.contents
                case.template_version = answer.version or None
                case.track_links = answer.track_links
            elif case.job.notification.WhichOneof("body") == "content":
                if case.job.content_id not in literal:
                    literal[case.job.content_id] = literal_contents(case.job.notification.content)
                contents = literal[case.job.content_id]
            if not case.job.meant.channels:
                continue
            quiet = quiet_gate(case, now, self._random)
            candidates, suppressed = decide(wanted_of(case), case.recipient, contents, quiet)
            case.candidates = candidates
            case.suppressed += suppressed

    async def _deliver(self, cases: Sequence[Case], *, dry: bool) -> dict[UUID, list[PlannedDelivery]]:
        deliveries: dict[UUID, list[PlannedDelivery]] = {case.job.source.notification_id: [] for case in cases}
        for case in cases:
            for suppressed in case.suppressed:
                deliveries[case.job.source.notification_id].append(suppressed_delivery(case, suppressed))
        routed: list[Routed] = []
        for case, candidate, lane_id in await self._route(cases):
            id_ = derived_id(case, candidate.channel, candidate)
            closed = self._foreign(case, candidate) or self._unsendable(candidate, lane_id, id_)
            if lane_id is None or closed is not None:
                gone = Suppressed(candidate.channel, closed or Closed(Gate.ROUTE, Reason.NO_ROUTE))
                deliveries[case.job.source.notification_id].append(suppressed_delivery(case, gone, candidate))
            else:
                routed.append(Routed(case, candidate, lane_id, id_))
        routed, passed_over = first_channels(routed)
        for case, suppressed in passed_over:
            deliveries[case.job.source.notification_id].append(suppressed_delivery(case, suppressed))
        for one in await self._admitted(routed, dry=dry):
            job = one.routed.case.job
            content = self._sealed(one.routed) if one.end is None else b""
            deliveries[job.source.notification_id].append(planned(one, content))
        return deliveries

    def _foreign(self, case: Case, candidate: Candidate) -> Closed | None:
        """An SMS to a number of a country that the app may not send to; its own country decides where the number's is not
        known."""
        allowed = self._config.snapshot.sms_countries.get(case.job.source.app_id)
        if allowed is None or candidate.channel is not Channel.SMS:
            return None
        hint = read_hint(candidate.address.hint)
        country = hint.region if hint is not None else case.recipient.country
        if country in allowed:
            return None
        return Closed(Gate.ROUTE, Reason.COUNTRY_NOT_ALLOWED, f"SMS to {country or 'an unknown country'}")

    def _unsendable(self, candidate: Candidate, lane_id: int | None, id_: UUID) -> Closed | None:
        """Why the account that was chosen cannot take it."""
        if lane_id is None:
            return None
        kind = self._config.snapshot.lanes[lane_id].kind
        too_much = excess(kind, candidate.channel, candidate.content.rendered, id_)
        return Closed(Gate.RENDER, Reason.TOO_LARGE, too_much) if too_much else None

    async def _admitted(self, routed: Sequence[Routed], *, dry: bool) -> list[Decided]:
        """What dedupe, caps and budgets say, and when what may go does so."""
        queries = [query for one in routed if (query := cap_query(one)) is not None]
        asked = self._caps.peek(queries) if dry else self._caps.acquire(queries)
        by_delivery = {query.delivery_id: answer for query, answer in zip(queries, await asked, strict=True)}
        by_delivery |= await self._spend(routed, by_delivery, dry=dry)
        now = datetime.now(UTC)
        found = [decided(one, by_delivery.get(one.delivery_id, _PASSED), now, self._random) for one in routed]
        if not dry:
            self._count(found)
        grouped = groupby(found, key=lambda one: id(one.routed.case))
        return [one for _, group in grouped for one in in_steps(list(group))]

    async def _spend(
        self, routed: Sequence[Routed], capped: Mapping[UUID, CapAnswer], *, dry: bool
    ) -> dict[UUID, CapAnswer]:
        """What the budgets say of the SMS that caps let through, or that will ask them later."""
        passed = {
            one.delivery_id: capped.get(one.delivery_id, _PASSED)
            for one in routed
            if one.candidate.channel is Channel.SMS
        }
        charges = [sms_charge(one) for one in routed if one.delivery_id in passed and passed[one.delivery_id].allowed]
        answers = await (self._budgets.look(charges) if dry else self._budgets.charge(charges))
        return {
            charge.delivery_id: replace(
                passed[charge.delivery_id],
                allowed=answer.allowed,
                unchecked=answer.unchecked or passed[charge.delivery_id].unchecked,
                rule=answer.rule,
                taken=answer.taken,
            )
            for charge, answer in zip(charges, answers, strict=True)
        }

    def _count(self, found: Iterable[Decided]) -> None:
        if self._verdicts is None:
            return
        counts: dict[str, int] = defaultdict(int)
        for one in found:
            if one.routed.asks_caps:
                counts[_verdict(one)] += 1
        for verdict, count in counts.items():
            self._verdicts.labels(verdict).inc(count)

    def _sealed(self, one: Routed) -> bytes:
        case, candidate = one.case, one.candidate
        job = case.job
        content = candidate.content.rendered
        own = Own(
            job.category,
            one.delivery_id,
            candidate.channel,
            case.template_version,
            case.recipient.country,
            case.track_links,
        )
        if candidate.channel is Channel.EMAIL:
            recipient_ref = uuid_of(case.recipient.ref)
            content = finished_mail(content, job.notification.attachments, self._links, own, recipient_ref)
        elif candidate.channel in PUSH:
            content = finished_push(content, self._config.snapshot.lanes[one.lane_id].kind, self._links, own)
        return job.sealer.seal("delivery", one.delivery_id.bytes, "content", content)

    async def _route(self, cases: Sequence[Case]) -> list[tuple[Case, Candidate, int | None]]:
        """Every candidate with its lane. An account put a moment ago is looked for once more before there is none."""
        routed = self._lanes(cases, self._config.snapshot)
        if any(lane_id is None for _, _, lane_id in routed):
            routed = self._lanes(cases, await self._config.look_again())
        return routed

    def _lanes(self, cases: Sequence[Case], snapshot: Snapshot) -> list[tuple[Case, Candidate, int | None]]:
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


def _verdict(one: Decided) -> str:
    """What the caps said, as it is counted."""
    answer = one.answer
    if one.end is not None:
        return "duplicate" if answer.duplicate else "suppressed"
    if not answer.allowed:
        return "deferred"
    if answer.unchecked:
        return "unchecked"
    if answer.shadow:
        return "shadow"
    return "near" if answer.near else "passed"


def _unplannable(source: ToPlan, rule: str) -> Plan:
    nobody = uuid_of(NOBODY)
    note = GateNote(Gate.RENDER, Verdict.SUPPRESS, Reason.RENDER_FAILED, rule)
    delivery = PlannedDelivery(
        delivery_id(source.notification_id, nobody, Channel.IOS, None),
        nobody,
        Channel.IOS,
        reason=Reason.RENDER_FAILED,
        gates=trail(Gate.RENDER, [note]),
    )
    return Plan(source, [delivery], max_attempts=1, at_most_once=False)
