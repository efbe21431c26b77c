"""What planning works on: notifications with everything of their app, their recipients, and candidates with their lanes.

No I/O: what is asked of others is made here, and what becomes of their answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from random import Random
from typing import NamedTuple
from uuid import UUID

from google.protobuf.struct_pb2 import Struct

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.notification.v1.notification_service_pb2 import ChannelMode, ChannelPolicy, EscalateUntil, Notification
from clarion_kit.sealing import AppSealer
from clarion_kit.vocabulary import Channel, DeliveryState, Gate, Reason, Verdict
from clarion_ledger.caps import CapAnswer, CapQuery, Dedupe, caps_for
from clarion_ledger.config import CategoryRule
from clarion_ledger.deferral import Denied, over_cap, quiet_hours
from clarion_ledger.ids import delivery_id, uuid_of
from clarion_ledger.planning import PlannedDelivery, ToPlan
from clarion_ledger.rests import UNTIL_APP_RECEIPT, DigestWindow, EscalationStep, Rest
from clarion_planner.content import literal_contents, sms_segments
from clarion_planner.domain import (
    Candidate,
    Closed,
    Escalation,
    GateNote,
    Quiet,
    Recipient,
    Suppressed,
    Wanted,
    channels_to_render,
    in_own_order,
    keep_first_channel,
)
from clarion_planner.gates import trail
from clarion_planner.ports import RenderQuery, SmsCharge

DEFAULT_ESCALATE_AFTER = timedelta(minutes=5)
_FIRST_AVAILABLE = ChannelMode.CHANNEL_MODE_FIRST_AVAILABLE
_ESCALATE = ChannelMode.CHANNEL_MODE_ESCALATE

NotBefore = Callable[[str, datetime], datetime | None]
"""When a recipient of a zone may get a notification at the earliest, seen from now (aware); None: at once."""


class Job(NamedTuple):
    """A notification with everything of its app that planning needs. `meant`: of the wanted channels those that app and
    category let through; `recipients`: their references; `content_id`: what is rendered once for all that share it."""

    source: ToPlan
    notification: Notification
    category: CategoryRule
    sealer: AppSealer
    wanted: Wanted
    meant: Wanted
    app_enabled: bool
    recipients: tuple[bytes, ...]
    content_id: UUID
    not_before: NotBefore | None = None

    @property
    def gathers(self) -> bool:
        """Whether it is made for a digest."""
        return bool(self.category.digest_window) and bool(self.notification.digest_key)

    @property
    def digest(self) -> DigestWindow | None:
        """The window its deliveries wait for, where they do; a test send goes alone."""
        if not self.gathers or self.notification.test:
            return None
        return DigestWindow(self.notification.digest_key, self.category.digest_window)


@dataclass(slots=True)
class Case:
    """One recipient of a job on its way through the gates."""

    job: Job
    recipient: Recipient
    candidates: list[Candidate]
    suppressed: list[Suppressed]
    template_version: int | None = None
    track_links: bool = False


class Routed(NamedTuple):
    """A candidate with its lane and the id of its delivery; those of one case stand together. `step`: of an escalation."""

    case: Case
    candidate: Candidate
    lane_id: int
    delivery_id: UUID
    step: int = 0

    @property
    def asks_caps(self) -> bool:
        """Caps are for what goes: what rests asks for them when it is due."""
        return self.candidate.rest is None and self.step == 0 and self.case.job.digest is None


class Decided(NamedTuple):
    """What the last gates said of a routed candidate: `end` where it does not go, `rest` where not now."""

    routed: Routed
    answer: CapAnswer
    end: Denied | None
    rest: Rest | None


def wanted_channels(notification: Notification) -> Wanted:
    """The channels a notification asks for, and how they relate."""
    policy = notification.channel_policy
    if policy.channels:
        wanted = _named(policy.mode, tuple(policy.channels))
    else:
        channels = tuple(Channel)
        if notification.WhichOneof("body") == "content":
            content = literal_contents(notification.content)
            channels = tuple(channel for channel in Channel if channel in content)
        wanted = Wanted(channels, False, policy.mode == _FIRST_AVAILABLE)
    return replace(wanted, escalation=_escalation(policy)) if policy.mode == _ESCALATE else wanted


@lru_cache(256)
def _named(mode: int, channels: tuple[int, ...]) -> Wanted:
    return Wanted(tuple(Channel(channel) for channel in channels), True, mode == _FIRST_AVAILABLE)


def _escalation(policy: ChannelPolicy) -> Escalation:
    after = policy.escalate_after.ToTimedelta() if policy.HasField("escalate_after") else DEFAULT_ESCALATE_AFTER
    return Escalation(after, policy.until or EscalateUntil.ESCALATE_UNTIL_DELIVERED)


def meant_channels(wanted: Wanted, category: CategoryRule, *, app_enabled: bool) -> Wanted:
    """Of wanted channels those that app and category let through."""
    if app_enabled and (not category.channels or category.channels.issuperset(wanted.channels)):
        return wanted
    kept = tuple(channel for channel in wanted.channels if channel in category.channels) if app_enabled else ()
    return replace(wanted, channels=kept)


def wanted_of(case: Case) -> Wanted:
    """What is wanted of a recipient's channels, in its own order."""
    return in_own_order(case.job.meant, case.recipient)


def forbidden_channels(job: Job) -> list[Suppressed]:
    """What app or category stop: every channel of a disabled app, those asked for by name, or one where none is left."""
    if not job.app_enabled:
        closed = Closed(Gate.APP, Reason.APP_DISABLED)
        return [Suppressed(channel, closed) for channel in job.wanted.channels[: None if job.wanted.explicit else 1]]
    closed = Closed(Gate.CATEGORY, Reason.CATEGORY_DISABLED, f"category {job.category.name}")
    stopped = [Suppressed(channel, closed) for channel in job.wanted.channels if channel not in job.meant.channels]
    if job.wanted.explicit:
        return stopped
    return [] if job.meant.channels else stopped[:1]


def render_query(case: Case) -> RenderQuery | None:
    """What to render for a case, None where nothing is."""
    if case.job.notification.WhichOneof("body") != "template" or not case.recipient.found:
        return None
    channels = channels_to_render(wanted_of(case), case.recipient)
    if not channels:
        return None
    template = case.job.notification.template
    data = with_digest(template.data, [template.data], 1) if case.job.gathers else template.data
    return RenderQuery(
        case.job.source.app_id,
        template.name,
        template.version,
        template.locale or case.recipient.locale,
        channels,
        data,
        case.recipient.time_zone,
    )


def with_digest(data: Struct, items: Sequence[Struct], count: int) -> Struct:
    """The same data with `digest`: how many notifications became one, and the data of the newest of them."""
    merged = Struct()
    merged.CopyFrom(data)
    digest = merged.fields["digest"].struct_value
    digest.fields["count"].number_value = count
    for item in items:
        digest.fields["items"].list_value.values.add().struct_value.CopyFrom(item)
    return merged


def quiet_gate(case: Case, now: datetime, random: Random) -> Quiet:
    """The gate QUIET_HOURS of a case; what its sender says of its time holds as well."""
    job = case.job
    earliest = job.not_before(case.recipient.time_zone, now) if job.not_before is not None else None

    def gate(until: datetime | None) -> Closed | Rest | None:
        hushed = None if job.notification.test else until
        found = quiet_hours(job.category, hushed, job.source.expire_at, now, random)
        if isinstance(found, Denied):
            return Closed(Gate.QUIET_HOURS, found.reason, found.rule)
        if earliest is None or earliest <= now:
            return found
        rule = f"not before {earliest:%Y-%m-%dT%H:%MZ}"
        if earliest >= job.source.expire_at:
            return Closed(Gate.QUIET_HOURS, Reason.DEFERRED_TOO_LONG, f"{rule}, past the deadline")
        if found is not None and found.due_at is not None and found.due_at > earliest:
            return found
        return Rest(DeliveryState.DEFERRED, earliest, reason=Reason.NOT_YET_DUE, code=rule)

    return gate


def first_channels(routed: Sequence[Routed]) -> tuple[list[Routed], list[tuple[Case, Suppressed]]]:
    """FIRST_AVAILABLE: of a recipient's channels that have a route the first serves; the others are not chosen. ESCALATE:
    each channel is a step."""
    kept: list[Routed] = []
    passed_over: list[tuple[Case, Suppressed]] = []
    for _, group in groupby(routed, key=lambda one: id(one.case)):
        entries = list(group)
        case, first = entries[0].case, entries[0].candidate
        if case.job.wanted.first_only:
            _, others = keep_first_channel([one.candidate for one in entries])
            passed_over += [(case, other) for other in others]
            entries = [one for one in entries if one.candidate.channel is first.channel]
        elif case.job.wanted.escalation is not None:
            steps = {channel: step for step, channel in enumerate(dict.fromkeys(o.candidate.channel for o in entries))}
            entries = [one._replace(step=steps[one.candidate.channel]) for one in entries]
        kept += entries
    return kept, passed_over


def cap_query(one: Routed) -> CapQuery | None:
    """One delivery against what its category allows, None where nothing bounds it."""
    case, candidate = one.case, one.candidate
    category = case.job.category
    if not (category.caps or category.dedupe_window) or not one.asks_caps:
        return None
    test = case.job.notification.test
    dedupe = None
    if category.dedupe_window > timedelta(0) and not test:
        # Of the content as it is shared, before it gets links of its own; maps in it have no order.
        whole = Rendered.FromString(candidate.content.rendered).SerializeToString(deterministic=True)
        digest = case.job.sealer.blind_index("content", whole)
        dedupe = Dedupe(candidate.address.address_id, digest, category.dedupe_window)
    query = CapQuery(
        case.job.source.app_id,
        one.delivery_id,
        case.recipient.ref,
        category.name,
        candidate.channel,
        caps_for(category.caps, candidate.channel, test=test),
        case.recipient.time_zone,
        dedupe,
    )
    return query if query.asks else None


def sms_charge(one: Routed) -> SmsCharge:
    """One SMS against the budgets of its app."""
    case, address = one.case, one.candidate.address
    return SmsCharge(
        app_id=case.job.source.app_id,
        delivery_id=one.delivery_id,
        address_id=address.address_id,
        hint=address.hint,
        country=case.recipient.country,
        segments=sms_segments(one.candidate.content.rendered),
        critical=case.job.category.critical,
    )


def decided(one: Routed, answer: CapAnswer, now: datetime, random: Random) -> Decided:
    """What caps and budgets make of a candidate, beside what quiet hours did."""
    found = over_cap(one.case.job.category, answer, one.case.job.source.expire_at, now, random)
    if isinstance(found, Denied):
        return Decided(one, answer, found, None)
    rest = found or one.candidate.rest
    if one.case.job.digest is not None:
        rest = Rest(DeliveryState.WAITING, code="digest")
    return Decided(one, answer, None, rest)


def in_steps(group: Sequence[Decided]) -> Sequence[Decided]:
    """The deliveries of one case of an escalation: each step waits for the ones before it, counted from the first of them
    that goes; where that cannot go, the next one takes its place at once."""
    escalation = group[0].routed.case.job.wanted.escalation
    if escalation is None:
        return group
    first = min((one.routed.step for one in group if one.end is None), default=0)
    begins = [one.rest for one in group if one.routed.step == first and one.rest is not None and one.end is None]
    moments = [rest.due_at for rest in begins if rest.due_at is not None]
    begin = max(moments) if moments else None
    delay = max((rest.delay for rest in begins), default=timedelta(0))
    made: list[Decided] = []
    for one in group:
        step = one.routed.step
        if one.end is None and step > 0:
            after = escalation.after * (step - first)
            # The very first that goes is due now; it is a step nevertheless, and asks all gates when it goes.
            due_at = begin + after if begin is not None else None
            one = one._replace(rest=Rest(DeliveryState.WAITING, due_at, delay + after, code=f"step {step}"))
        made.append(one)
    return made


def planned(one: Decided, content: bytes) -> PlannedDelivery:
    """The delivery of a candidate; `content` is sealed."""
    routed, case, candidate = one.routed, one.routed.case, one.routed.candidate
    if one.end is not None:
        gate = Gate.CONTENT_DEDUPE if one.answer.duplicate else Gate.CAPS
        closed = Suppressed(candidate.channel, Closed(gate, one.end.reason, one.end.rule))
        return suppressed_delivery(case, closed, candidate)
    escalation = case.job.wanted.escalation
    return PlannedDelivery(
        routed.delivery_id,
        uuid_of(case.recipient.ref),
        candidate.channel,
        address_id=uuid_of(candidate.address.address_id),
        lane_id=routed.lane_id,
        address=candidate.address.sealed,
        content=content,
        gates=trail(Gate.CAPS if routed.asks_caps else Gate.ROUTE, _notes(one)),
        template_version=case.template_version,
        country=case.recipient.country or None,
        wishes_revision=case.recipient.revision,
        locale=case.recipient.locale,
        hint=candidate.address.hint,
        rest=one.rest,
        ask_again_at=None if case.job.category.critical or case.job.notification.test else case.recipient.quiet_from,
        escalation=_step(routed.step, escalation, case.job.category) if escalation else None,
        digest=replace(window, time_zone=case.recipient.time_zone) if (window := case.job.digest) else None,
        taken=one.answer.taken,
    )


def _step(step: int, escalation: Escalation, category: CategoryRule) -> EscalationStep:
    said_by_app = category.app_receipts and escalation.until == EscalateUntil.ESCALATE_UNTIL_DELIVERED
    return EscalationStep(step, UNTIL_APP_RECEIPT if said_by_app else escalation.until, escalation.after)


def suppressed_delivery(case: Case, suppressed: Suppressed, candidate: Candidate | None = None) -> PlannedDelivery:
    """The delivery of a channel that is not used."""
    closed = suppressed.closed
    note = GateNote(closed.gate, Verdict.SUPPRESS, closed.reason, closed.rule)
    return PlannedDelivery(
        derived_id(case, suppressed.channel, candidate),
        uuid_of(case.recipient.ref),
        suppressed.channel,
        reason=closed.reason,
        gates=trail(closed.gate, [note]),
        template_version=case.template_version,
        country=case.recipient.country or None,
    )


def derived_id(case: Case, channel: Channel, candidate: Candidate | None) -> UUID:
    """The same for every plan of the same delivery."""
    address = uuid_of(candidate.address.address_id) if candidate is not None else None
    return delivery_id(case.job.source.notification_id, uuid_of(case.recipient.ref), channel, address)


def _notes(one: Decided) -> list[GateNote]:
    notes: list[GateNote] = []
    hushed = one.routed.candidate.rest
    if hushed is not None:
        notes.append(GateNote(Gate.QUIET_HOURS, Verdict.DEFER, hushed.reason, hushed.code))
    answer = one.answer
    if not answer.allowed:
        notes.append(GateNote(Gate.CAPS, Verdict.DEFER, Reason.CAPPED, answer.rule))
    elif answer.unchecked or answer.rule:
        verdict = Verdict.PASS_UNCHECKED if answer.unchecked else Verdict.PASS
        notes.append(GateNote(Gate.CAPS, verdict, rule=answer.rule))
    if answer.shadow:
        notes.append(GateNote(Gate.CAPS, Verdict.SHADOW, Reason.CAPPED, answer.shadow))
    if answer.near:
        notes.append(GateNote(Gate.CAPS, Verdict.PASS, rule=f"near: {answer.near}"))
    return notes
