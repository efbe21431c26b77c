"""Content of a notification as it rests with its deliveries: literal content per channel, what each mail has of its own,
and whether a provider can take it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.types.v1 import content_pb2
from clarion_channels.push import size
from clarion_channels.text.segments import MAX_PARTS, TooManyParts, split
from clarion_kit.links import OpenLink, UnsubscribeLink, sign_open, unsubscribe_url
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import CategoryRule
from clarion_planner.domain import PUSH, Content

_SURELY_ONE_SMS_BYTES = 16_000
"""The longest SMS has 255 parts of 66 characters, each of a byte or more."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where the links in mails lead and the key that signs them."""

    base_url: str
    key: bytes = field(repr=False)


def literal_contents(content: content_pb2.Content) -> dict[Channel, Content | None]:
    """Serialised Rendered by channel, for the channels that a literal content has something for."""
    found: dict[Channel, Content | None] = {}
    if content.HasField("push"):
        push = Content(Rendered(push=content.push).SerializeToString())
        found.update(dict.fromkeys(sorted(PUSH), push))
    if content.HasField("sms"):
        found[Channel.SMS] = Content(Rendered(sms=content.sms).SerializeToString())
    if content.HasField("mail"):
        mail = RenderedMail(subject=content.mail.subject, literal=content.mail)
        found[Channel.EMAIL] = Content(Rendered(mail=mail).SerializeToString())
    return found


def finished_mail(
    rendered: bytes,
    attachments: Sequence[content_pb2.MailAttachment],
    links: Links | None,
    category: CategoryRule,
    delivery_id: UUID,
    recipient_ref: UUID,
    template_version: int | None,
    country: str,
) -> bytes:
    """The same mail with its files, its own open pixel and, unless its category is critical, a way to unsubscribe."""
    if links is None and not attachments:
        return rendered
    content = Rendered.FromString(rendered)
    content.mail.attachments.extend(attachments)
    if links is not None:
        opened = OpenLink(
            app_id=category.app_id,
            delivery_id=delivery_id,
            category_id=category.category_id,
            template_version=template_version or 0,
            country=country,
            channel=Channel.EMAIL,
        )
        content.mail.open_pixel_url = f"{links.base_url}/o/{sign_open(links.key, opened)}.gif"
        if not category.critical:
            unwanted = UnsubscribeLink(category.app_id, recipient_ref, category.category_id, Channel.EMAIL)
            content.mail.unsubscribe_url = unsubscribe_url(links.base_url, links.key, unwanted)
    return content.SerializeToString()


def excess(kind: str, channel: Channel, rendered: bytes, delivery_id: UUID) -> str:
    """By how much content is over what providers of this kind take; empty where it is not, or only they can say."""
    if channel in PUSH:
        if len(rendered) <= size.SURELY_FITS_BYTES:
            return ""
        return size.excess(kind, Rendered.FromString(rendered).push, delivery_id)
    if channel is Channel.SMS and len(rendered) > _SURELY_ONE_SMS_BYTES:
        try:
            split(Rendered.FromString(rendered).sms.text)
        except TooManyParts:
            return f"more than {MAX_PARTS} segments"
    return ""


def sms_segments(rendered: bytes) -> int:
    """Segments that a rendered SMS is sent in; most providers charge for each."""
    try:
        return len(split(Rendered.FromString(rendered).sms.text).parts)
    except TooManyParts:
        return MAX_PARTS
