"""What is to be told to whom, and what came of handing it in."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Required, TypedDict

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.types.v1 import channel_pb2
from clarion.types.v1.time_pb2 import SendWindow
from clarion_client._wire import JsonValue, duration, local_time, optional_timestamp, struct
from clarion_client.content import Attachment, ContentLike, content_proto
from clarion_client.enums import Channel, ChannelMode, EscalateUntil, Priority


def new_event_id() -> str:
    """A random event id (UUIDv4)."""
    return str(uuid.uuid4())


class NotificationFields(TypedDict, total=False):
    """The keyword arguments of `send`; each is explained at `Notification`."""

    recipients: Required[Sequence[str]]
    category: Required[str]
    event_id: str
    template: str
    template_version: int
    data: Mapping[str, JsonValue]
    locale: str
    content: ContentLike
    channels: Sequence[Channel]
    channel_mode: ChannelMode
    escalate_after: timedelta
    escalate_until: EscalateUntil
    priority: Priority
    deliver_at: datetime
    deliver_at_local: datetime
    send_window: SendWindow
    expire_at: datetime
    collapse_key: str
    digest_key: str
    attachments: Sequence[Attachment]
    test: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One notification; exactly one of `template` (with `data` and `locale`) and `content`.

    `event_id` makes sending idempotent for 30 days. Without one a random id is made with this object, so that this
    object may be sent again; a restarted process makes another. Derive it from your own event (an order's number and
    what happened to it) where you can; it must hold no personal data.
    Notifications to one recipient with the same `digest_key` become one, if the category has a digest window. With
    ESCALATE the channels are tried one after the other, `escalate_after` apart, until one was enough.
    `deliver_at` and `expire_at` are aware datetimes; `deliver_at_local` is naive and means each recipient's own clock, as
    `send_window` does, outside of which it waits. `channels` in order of preference; empty: all.
    `attachments` go to those who get it by mail; with them a notification takes at most 10 recipients.
    `test`: a test send, which quiet hours and caps of the recipient do not hold back and statistics leave out; its key needs
    the scope template:write, too.
    Raises ValueError for naive datetimes, a body that is not exactly one, and recipients given as one string.
    Data and content stay out of `repr`: they are personal.
    """

    recipients: Sequence[str]
    category: str
    event_id: str = field(default_factory=new_event_id)
    template: str = ""
    template_version: int = 0
    data: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    locale: str = ""
    content: ContentLike | None = field(default=None, repr=False)
    channels: Sequence[Channel] = ()
    channel_mode: ChannelMode = ChannelMode.ALL
    escalate_after: timedelta | None = None
    escalate_until: EscalateUntil = EscalateUntil.DELIVERED
    priority: Priority = Priority.NORMAL
    deliver_at: datetime | None = None
    deliver_at_local: datetime | None = None
    send_window: SendWindow | None = None
    expire_at: datetime | None = None
    collapse_key: str = ""
    digest_key: str = ""
    attachments: Sequence[Attachment] = field(default=(), repr=False)
    test: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.recipients, str):
            raise ValueError("recipients is a list of ids; one string would be read letter by letter")
        if bool(self.template) == (self.content is not None):
            raise ValueError("exactly one of template and content is required")
        if self.content is not None and (self.data or self.locale or self.template_version):
            raise ValueError("data, locale and template_version belong to a template")
        optional_timestamp("deliver_at", self.deliver_at)
        optional_timestamp("expire_at", self.expire_at)
        local_time("deliver_at_local", self.deliver_at_local)

    def to_proto(self) -> pb.Notification:
        """The contract's form. Raises ValueError for data that JSON cannot hold."""
        return pb.Notification(
            event_id=self.event_id,
            recipient_ids=self.recipients,
            category=self.category,
            template=self._template_ref(),
            content=None if self.content is None else content_proto(self.content),
            priority=channel_pb2.Priority.ValueType(self.priority),
            channel_policy=self._channel_policy(),
            deliver_at=optional_timestamp("deliver_at", self.deliver_at),
            deliver_at_local=local_time("deliver_at_local", self.deliver_at_local),
            send_window=self.send_window,
            expire_at=optional_timestamp("expire_at", self.expire_at),
            collapse_key=self.collapse_key,
            digest_key=self.digest_key,
            attachments=[attachment.to_proto() for attachment in self.attachments],
            test=self.test,
        )

    def _template_ref(self) -> pb.TemplateRef | None:
        if not self.template:
            return None
        return pb.TemplateRef(
            name=self.template, version=self.template_version, data=struct(self.data), locale=self.locale
        )

    def _channel_policy(self) -> pb.ChannelPolicy | None:
        if not self.channels and self.channel_mode is ChannelMode.ALL and self.escalate_after is None:
            return None
        return pb.ChannelPolicy(
            mode=pb.ChannelMode.ValueType(self.channel_mode),
            channels=[channel_pb2.Channel.ValueType(channel) for channel in self.channels],
            escalate_after=None if self.escalate_after is None else duration(self.escalate_after),
            until=self._until(),
        )

    def _until(self) -> pb.EscalateUntil.ValueType:
        escalates = self.channel_mode is ChannelMode.ESCALATE
        return pb.EscalateUntil.ValueType(self.escalate_until if escalates else 0)


NotificationLike = Notification | pb.Notification


def notification_proto(notification: NotificationLike) -> pb.Notification:
    """The contract's form, with an event id; a message of the caller's own is never changed."""
    if isinstance(notification, Notification):
        return notification.to_proto()
    if notification.event_id:
        return notification
    named = pb.Notification()
    named.CopyFrom(notification)
    named.event_id = new_event_id()
    return named


def one_notification(notification: NotificationLike | None, fields: NotificationFields) -> pb.Notification:
    """What `send` was given, whole or by its fields. Raises TypeError for both, or for missing fields."""
    if notification is None:
        return Notification(**fields).to_proto()
    if beside := sorted(fields):
        raise TypeError(f"a notification and fields beside it ({', '.join(beside)})")
    return notification_proto(notification)


@dataclass(frozen=True, slots=True)
class Sent:
    """Durable: committed to the ledger.

    `notification_id` is a UUIDv7. `duplicate`: the event id was known with this payload and nothing new was stored.
    `trace_id` (32 hex digits) where the call was sampled by the caller, else "".
    """

    event_id: str
    notification_id: str
    duplicate: bool
    trace_id: str = ""
