"""Why: gate by gate what would become of a notification, or what became of one."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1.state_pb2 import GateRecord, GateTrail
from clarion.types.v1.content_pb2 import Content, MailContent
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import AppSealer, Unsealable, recipient_reference
from clarion_kit.vocabulary import Channel, DeliveryState, Gate, Priority, Reason, Verdict
from clarion_ledger import explaining
from clarion_ledger.caps import caps_for
from clarion_ledger.config import CategoryRule, ConfigCache, Snapshot
from clarion_ledger.db import Pool
from clarion_ledger.explaining import ToldDelivery
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import PlannedDelivery, ToPlan
from clarion_planner.planning import Planning

_GATES = {
    Reason.APP_DISABLED: Gate.APP,
    Reason.CATEGORY_DISABLED: Gate.CATEGORY,
    Reason.ADDRESS_GONE: Gate.ADDRESS,
    Reason.ERASED: Gate.ADDRESS,
    Reason.WISH_CHANGED: Gate.WISHES,
    Reason.QUIET_HOURS: Gate.QUIET_HOURS,
    Reason.NOT_YET_DUE: Gate.QUIET_HOURS,
    Reason.DUPLICATE_CONTENT: Gate.CONTENT_DEDUPE,
    Reason.MERGED: Gate.CONTENT_DEDUPE,
    Reason.CAPPED: Gate.CAPS,
}
"""Gates that decide again after the plan, by what they say."""


class Explaining:
    """Answers Explain. A dry run goes the way of planning, and takes and stores nothing."""

    def __init__(self, pool: Pool, keys: KeyRing, config: ConfigCache, rules: Planning, random: Random) -> None:
        self._pool = pool
        self._keys = keys
        self._config = config
        self._rules = rules
        self._random = random

    async def dry_run(self, app_id: int, notification: pb.Notification) -> pb.ExplainResponse:
        """Raises CATEGORY_NOT_FOUND, DEPENDENCY_UNAVAILABLE, LedgerUnavailable."""
        category = await self._config.category(app_id, notification.category)
        source = self._source(category, notification)
        job = await self._rules.job(source, notification, await self._keys.sealer(app_id))
        [plan] = await self._rules.plan_jobs([job], dry=True)
        ids = _recipient_ids(app_id, notification)
        return pb.ExplainResponse(
            explanations=[
                self._planned(job.sealer, category, delivery, ids.get(delivery.recipient_ref, ""), notification.test)
                for delivery in plan.deliveries
            ],
            test=notification.test,
        )

    async def afterwards(self, app_id: int, notification_id: UUID) -> pb.ExplainResponse:
        """Raises NOTIFICATION_NOT_FOUND, LedgerUnavailable."""
        told = await explaining.told(self._pool, app_id, notification_id)
        if told is None:
            raise DomainError(
                ErrorReason.NOTIFICATION_NOT_FOUND,
                "no such notification",
                metadata={"notification_id": str(notification_id)},
            )
        sealer = await self._keys.sealer(app_id)
        notification = _asked_for(sealer, told.event_id, told.payload)
        ids = _recipient_ids(app_id, notification)
        category = self._config.snapshot.categories_by_id.get(told.category_id)
        return pb.ExplainResponse(
            explanations=[
                self._stored(sealer, category, delivery, ids.get(delivery.recipient_ref, ""), told.test)
                for delivery in told.deliveries
            ],
            test=told.test,
        )

    def _source(self, category: CategoryRule, notification: pb.Notification) -> ToPlan:
        now = datetime.now(UTC)
        begins = now
        if notification.HasField("deliver_at"):
            begins = max(now, notification.deliver_at.ToDatetime(tzinfo=UTC))
        expire_at = begins + category.time_to_live
        if notification.HasField("expire_at"):
            expire_at = notification.expire_at.ToDatetime(tzinfo=UTC)
        unix_ms = int(begins.timestamp() * 1_000)
        return ToPlan(
            notification_id=UUID(int=unix_ms << 80 | self._random.getrandbits(80)),
            app_id=category.app_id,
            category_id=category.category_id,
            priority=Priority(notification.priority or Priority.NORMAL),
            event_id="",
            accepted_at=now,
            expire_at=expire_at,
            expired=False,
            payload=b"",
            traceparent="",
            tries=0,
        )

    def _planned(
        self, sealer: AppSealer, category: CategoryRule, delivery: PlannedDelivery, recipient_id: str, test: bool
    ) -> pb.Explanation:
        rest = delivery.rest
        state = DeliveryState.SUPPRESSED if delivery.reason else rest.state if rest else DeliveryState.READY
        due_at = None
        if rest is not None:
            waits = delivery.digest.length if delivery.digest is not None else rest.delay
            due_at = rest.due_at or datetime.now(UTC) + waits
        made = self._explanation(
            category, delivery.channel, delivery.lane_id, delivery.country or "", delivery.locale, delivery.hint
        )
        made.MergeFrom(
            pb.Explanation(
                recipient_id=recipient_id,
                recipient_ref=str(delivery.recipient_ref),
                delivery_id=str(delivery.delivery_id),
                state=state,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
                reason=delivery.reason or 0,  # type: ignore[arg-type]
                gates=expanded(delivery.gates, _facts(category, delivery.channel, made.provider, test=test)),
                content=_shown(sealer, delivery.delivery_id, delivery.content),
                template_version=delivery.template_version or 0,
                step=delivery.escalation.step if delivery.escalation else 0,
                due_at=_timestamp(due_at),
            )
        )
        return made

    def _stored(
        self, sealer: AppSealer, category: CategoryRule | None, delivery: ToldDelivery, recipient_id: str, test: bool
    ) -> pb.Explanation:
        made = self._explanation(
            category, delivery.channel, delivery.lane_id, delivery.country, delivery.locale, delivery.hint
        )
        gates = expanded(delivery.gates, _facts(category, delivery.channel, made.provider, test=test))
        made.MergeFrom(
            pb.Explanation(
                recipient_id=recipient_id,
                recipient_ref=str(delivery.recipient_ref),
                delivery_id=str(delivery.delivery_id),
                state=delivery.state,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
                reason=delivery.reason or delivery.said_reason or 0,  # type: ignore[arg-type]
                gates=decided_later(gates, delivery),
                content=_shown(sealer, delivery.delivery_id, delivery.content),
                template_version=delivery.template_version,
                step=delivery.step,
                due_at=_timestamp(delivery.due_at),
            )
        )
        return made

    def _explanation(
        self, category: CategoryRule | None, channel: Channel, lane_id: int | None, country: str, locale: str, hint: str
    ) -> pb.Explanation:
        snapshot = self._config.snapshot
        lane = snapshot.lanes.get(lane_id) if lane_id is not None else None
        routes = route_candidates(snapshot, category.app_id, channel, lane_id, self._rules.stopped) if category else []
        return pb.Explanation(
            channel=channel,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
            routes=routes,
            provider=lane.name if lane is not None else "",
        )


def expanded(trail: bytes, facts: Mapping[Gate, str]) -> list[GateRecord]:
    """Every gate in order: what its record says, PASS with the data it used where it simply passed, and no verdict where
    it was not reached."""
    stored = GateTrail.FromString(trail) if trail else GateTrail(passed_up_to=Gate.CAPS)  # type: ignore[arg-type]
    records: list[GateRecord] = []
    for gate in Gate:
        own = [record for record in stored.records if record.gate == gate.value]
        if own:
            records += own
        elif gate <= stored.passed_up_to:
            records.append(_record(gate, Verdict.PASS, rule=facts.get(gate, "")))
        else:
            records.append(_record(gate))
    return records


def decided_later(gates: Sequence[GateRecord], delivery: ToldDelivery) -> list[GateRecord]:
    """The same with what a gate said when it was asked again, as the timeline has it."""
    reason = delivery.said_reason
    if reason is None:
        return list(gates)
    gate = _GATES.get(reason)
    if reason is Reason.DEFERRED_TOO_LONG:
        gate = Gate.CAPS if delivery.said.startswith("category ") else Gate.QUIET_HOURS
    if gate is None or any(record.gate == gate.value and record.reason == reason.value for record in gates):
        return list(gates)
    verdict = Verdict.SUPPRESS if delivery.state.terminal else Verdict.DEFER
    later = _record(gate, verdict, reason, delivery.said)
    return [later if record.gate == gate.value else record for record in gates]


def route_candidates(
    snapshot: Snapshot, app_id: int, channel: Channel, chosen: int | None, stopped: Collection[int]
) -> list[pb.RouteCandidate]:
    """The accounts of an app for a channel, and why each serves or does not."""
    targets = {
        target.lane_id: f"rank {target.rank}, weight {target.weight} of route {_route_name(route.country, route.locale)}"
        for route in snapshot.routes.get((app_id, channel), ())
        for target in route.targets
    }
    candidates = []
    for lane in snapshot.lanes.values():
        if (lane.app_id, lane.channel) != (app_id, channel) or lane.deleted:
            continue
        why = targets.get(lane.lane_id, "in no route" if targets else "no routes: the first account serves")
        if not lane.enabled:
            why = "disabled"
        elif lane.lane_id in stopped and lane.lane_id != chosen:
            why = f"stopped; {why}"
        candidates.append(pb.RouteCandidate(provider=lane.name, chosen=lane.lane_id == chosen, why=why))
    return candidates


def _route_name(country: str, locale: str) -> str:
    return "/".join(part for part in (country, locale) if part) or "of everybody"


def _facts(category: CategoryRule | None, channel: Channel, provider: str, *, test: bool) -> dict[Gate, str]:
    """What gates that passed went by."""
    if category is None:
        return {}
    caps = caps_for(category.caps, channel, test=test)
    quiet = "critical: no quiet hours" if category.critical else "no quiet hours now"
    dedupe = (
        f"not sent within {category.dedupe_window}" if category.dedupe_window > timedelta(0) else "no dedupe window"
    )
    if test:
        quiet = dedupe = "test send"
    return {
        Gate.CATEGORY: f"category {category.name}",
        Gate.QUIET_HOURS: quiet,
        Gate.CONTENT_DEDUPE: dedupe,
        Gate.ROUTE: f"account {provider}" if provider else "",
        Gate.CAPS: f"within {len(caps)} caps" if caps else "no caps",
    }


def _record(gate: Gate, verdict: Verdict | None = None, reason: Reason | None = None, rule: str = "") -> GateRecord:
    return GateRecord(
        gate=gate,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        verdict=verdict or 0,  # type: ignore[arg-type]
        reason=reason or 0,  # type: ignore[arg-type]
        rule=rule,
    )


def _recipient_ids(app_id: int, notification: pb.Notification | None) -> dict[UUID, str]:
    if notification is None:
        return {}
    return {UUID(bytes=recipient_reference(app_id, id_)): id_ for id_ in notification.recipient_ids}


def _asked_for(sealer: AppSealer, event_id: str, payload: bytes) -> pb.Notification | None:
    if not payload:
        return None
    try:
        return pb.Notification.FromString(sealer.open("notification", event_id.encode(), "payload", payload))
    except (Unsealable, DecodeError):
        return None


def _shown(sealer: AppSealer, delivery_id: UUID, sealed: bytes) -> Content | None:
    """What is sent, as far as it can be shown without the frame of its mail template."""
    if not sealed:
        return None
    try:
        rendered = Rendered.FromString(sealer.open("delivery", delivery_id.bytes, "content", sealed))
    except (Unsealable, DecodeError):
        return None
    content = Content()
    if rendered.HasField("push"):
        content.push.CopyFrom(rendered.push)
    if rendered.HasField("sms"):
        content.sms.CopyFrom(rendered.sms)
    if rendered.HasField("mail"):
        mail = MailContent()
        mail.CopyFrom(rendered.mail.literal)
        mail.subject = rendered.mail.subject
        content.mail.CopyFrom(mail)
    return content


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp
