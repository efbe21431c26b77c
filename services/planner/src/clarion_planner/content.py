"""Content of a notification as it rests with its deliveries: literal content per channel, open pixels for mail."""

from dataclasses import dataclass, field
from uuid import UUID

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.types.v1 import content_pb2
from clarion_channels.text.segments import MAX_PARTS, TooManyParts, split
from clarion_kit.links import OpenLink, sign_open
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import CategoryRule
from clarion_planner.domain import PUSH, Content


@dataclass(frozen=True, slots=True)
class OpenPixels:
    """Where open pixels lead and the key that signs them."""

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


def with_open_pixel(
    rendered: bytes,
    pixels: OpenPixels,
    category: CategoryRule,
    delivery_id: UUID,
    template_version: int | None,
    country: str,
) -> bytes:
    """The same mail with the URL of its own open pixel."""
    content = Rendered.FromString(rendered)
    link = OpenLink(
        app_id=category.app_id,
        delivery_id=delivery_id,
        category_id=category.category_id,
        template_version=template_version or 0,
        country=country,
        channel=Channel.EMAIL,
    )
    content.mail.open_pixel_url = f"{pixels.base_url}/o/{sign_open(pixels.key, link)}.gif"
    return content.SerializeToString()


def sms_segments(rendered: bytes) -> int:
    """Segments that a rendered SMS is sent in; most providers charge for each."""
    try:
        return len(split(Rendered.FromString(rendered).sms.text).parts)
    except TooManyParts:
        return MAX_PARTS
