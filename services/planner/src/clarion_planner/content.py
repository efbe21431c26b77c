"""Content of a notification as it rests with its deliveries: literal content per channel, what each mail and each push has
of its own, and whether a provider can take it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from clarion.internal.content.v1.rendered_pb2 import LinkSigner, Rendered, RenderedMail
from clarion.types.v1 import content_pb2
from clarion_channels.clicks import NO_CLICKS, Clicks
from clarion_channels.push import size
from clarion_channels.text.segments import MAX_PARTS, TooManyParts, split
from clarion_kit.links import (
    OpenLink,
    UnsubscribeLink,
    click_key,
    packed,
    sign_event,
    sign_open,
    unsubscribe_url,
)
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import CategoryRule
from clarion_planner.domain import PUSH, Content

_SURELY_ONE_SMS_BYTES = 16_000
"""The longest SMS has 255 parts of 66 characters, each of a byte or more."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where the links in messages lead and the key that signs them."""

    base_url: str
    key: bytes = field(repr=False)

    def signer(self, delivery: OpenLink) -> LinkSigner:
        """What signs the click links of one delivery, and of no other."""
        about = packed(delivery)
        return LinkSigner(base_url=self.base_url, delivery=about, key=click_key(self.key, about))


class Own(NamedTuple):
    """What a delivery's links say of it. `track_links`: its template wants to know of clicks."""

    category: CategoryRule
    delivery_id: UUID
    channel: Channel
    template_version: int | None
    country: str
    track_links: bool = False

    @property
    def link(self) -> OpenLink:
        return OpenLink(
            app_id=self.category.app_id,
            delivery_id=self.delivery_id,
            category_id=self.category.category_id,
            template_version=self.template_version or 0,
            country=self.country,
            channel=self.channel,
        )


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
    own: Own,
    recipient_ref: UUID,
) -> bytes:
    """The same mail with its files, its own open pixel, what signs its links and, unless its category is critical, a way to
    unsubscribe."""
    if links is None and not attachments:
        return rendered
    content = Rendered.FromString(rendered)
    content.mail.attachments.extend(attachments)
    if links is not None:
        delivery, category = own.link, own.category
        content.mail.open_pixel_url = f"{links.base_url}/o/{sign_open(links.key, delivery)}.gif"
        if own.track_links:
            content.mail.links.CopyFrom(links.signer(delivery))
        if not category.critical:
            unwanted = UnsubscribeLink(category.app_id, recipient_ref, category.category_id, Channel.EMAIL)
            content.mail.unsubscribe_url = unsubscribe_url(links.base_url, links.key, unwanted)
    return content.SerializeToString()


def finished_push(rendered: bytes, kind: str, links: Links | None, own: Own) -> bytes:
    """The same push with the token of its events and, in browsers, what signs its links; without them where they would not
    fit into what providers of this kind take."""
    if links is None:
        return rendered
    delivery = own.link
    ours = Rendered(event_token=sign_event(links.key, delivery))
    if own.channel is Channel.WEB and own.track_links:
        ours.links.CopyFrom(links.signer(delivery))
    # Serialised messages that stand one behind the other are one message with the fields of both.
    finished = rendered + ours.SerializeToString()
    return finished if not excess(kind, own.channel, finished, own.delivery_id) else rendered


def excess(kind: str, channel: Channel, rendered: bytes, delivery_id: UUID) -> str:
    """By how much content is over what providers of this kind take; empty where it is not, or only they can say."""
    if channel in PUSH:
        if len(rendered) <= size.SURELY_FITS_BYTES:
            return ""
        content = Rendered.FromString(rendered)
        clicks = Clicks(content.links) if content.HasField("links") else NO_CLICKS
        return size.excess(kind, content.push, delivery_id, content.event_token, clicks)
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
