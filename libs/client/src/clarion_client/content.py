"""What a person reads, as Python values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clarion.types.v1 import content_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A button of a push notification: what the app is told when it is pressed, its label, where it leads."""

    id: str
    title: str
    link: str = ""
    icon_url: str = ""

    def to_proto(self) -> content_pb2.PushAction:
        return content_pb2.PushAction(id=self.id, title=self.title, link=self.link, icon_url=self.icon_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A push notification for devices and browsers; limits as in `clarion.types.v1.PushContent`."""

    title: str = ""
    body: str = ""
    image_url: str = ""
    link: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    actions: Sequence[Action] = ()
    ios: content_pb2.IosOptions | None = None
    android: content_pb2.AndroidOptions | None = None
    web: content_pb2.WebOptions | None = None

    def to_proto(self) -> content_pb2.PushContent:
        return content_pb2.PushContent(
            title=self.title,
            body=self.body,
            image_url=self.image_url,
            link=self.link,
            data=self.data,
            actions=[action.to_proto() for action in self.actions],
            ios=self.ios,
            android=self.android,
            web=self.web,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail. `html` stands beside the text, never alone: a mail without `text` is refused."""

    subject: str
    text: str
    html: str = ""

    def to_proto(self) -> content_pb2.MailContent:
        return content_pb2.MailContent(subject=self.subject, text=self.text, html=self.html)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file for those who get a notification by mail. With a `content_id` it is shown in the HTML, where
    `cid:<content_id>` stands, and not listed; limits as in `clarion.types.v1.MailAttachment`."""

    filename: str
    content_type: str
    content: bytes = field(repr=False)
    content_id: str = ""

    def to_proto(self) -> content_pb2.MailAttachment:
        return content_pb2.MailAttachment(
            filename=self.filename,
            content_type=self.content_type,
            content=self.content,
            content_id=self.content_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Content per kind of channel; a channel without content is suppressed. `sms` is the text itself."""

    push: Push | None = None
    sms: str | None = None
    mail: Mail | None = None

    def to_proto(self) -> content_pb2.Content:
        return content_pb2.Content(
            push=None if self.push is None else self.push.to_proto(),
            sms=None if self.sms is None else content_pb2.SmsContent(text=self.sms),
            mail=None if self.mail is None else self.mail.to_proto(),
        )


ContentLike = Content | content_pb2.Content


def content_proto(content: ContentLike) -> content_pb2.Content:
    return content.to_proto() if isinstance(content, Content) else content
