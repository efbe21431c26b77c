"""Mails for the tests of the HTTP mail providers, their frames, and the sandbox's account documents."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

from pyreqwest.client import ClientBuilder

from clarion.internal.content.v1.rendered_pb2 import MailFrame, Rendered, RenderedMail
from clarion.types.v1.address_pb2 import Address, MailAddress
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import MailContent
from clarion_channels.mail.frame import Marker, build_frame, frame_sha256
from clarion_channels.port import Message
from clarion_channels.providers.smtp import FrameUnavailable

from .sandbox_door import Practice

FRAME = build_frame(["Hello ", 0, ",\nyour order is here.\n"], ["<p>Hello ", 1, "</p>", Marker.OPEN_PIXEL])
OTHER_FRAME = build_frame(["Bye ", 0])
_numbers = count(1)


class Frames:
    """The two frames above."""

    async def get(self, sha256: bytes) -> MailFrame:
        for frame in (FRAME, OTHER_FRAME):
            if frame_sha256(frame) == sha256:
                return frame
        raise FrameUnavailable


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("receipts of mail come to the tracker")


def mailbox(code: str = "") -> str:
    """An address that no other test uses, magic if a code is given."""
    local = f"bounce+{code}+{next(_numbers)}" if code else f"anna{next(_numbers)}"
    return f"{local}@example.org"


def mail_message(to: str = "", mail: RenderedMail | None = None, *, name: str = "Anna", subject: str = "Hi") -> Message:
    content = mail or RenderedMail(subject=subject, frame_sha256=frame_sha256(FRAME), slots=[name, f"<b>{name}</b>"])
    return Message(
        delivery_id=uuid4(),
        address=Address(email=MailAddress(address=to or mailbox(), display_name="Anna Ångström")),
        content=Rendered(mail=content),
        priority=PRIORITY_NORMAL,
        expire_at=datetime.now(UTC) + timedelta(hours=1),
    )


def literal(subject: str = "Hi") -> RenderedMail:
    return RenderedMail(subject=subject, literal=MailContent(text="plain", html="<b>rich</b>"))


def accepted(door: Practice, message: Message) -> dict[str, object]:
    """The sandbox's one line about a message that it took."""
    [line] = [line for line in lines(door, message) if line["accepted"]]
    return line


def lines(door: Practice, message: Message) -> list[dict[str, object]]:
    """Every line of the sandbox about a message's address."""
    to = message.address.email.address
    entries = [json.loads(line) for line in door.sandbox.ledger.read(0, 10_000).splitlines()]
    return [entry for entry in entries if entry["destination"] == to]


async def send_callbacks_to(door: Practice, urls: Mapping[str, str]) -> None:
    """Have the sandbox post its events there."""
    builder = ClientBuilder().add_root_certificate_pem(door.ca_file.read_bytes()).base_url(door.sandbox.base_url)
    async with builder.build() as http:
        request = http.put("/sandbox/callbacks").bearer_auth(door.sandbox.credentials.api_token)
        response = await request.body_json(dict(urls)).build().send()
        assert response.status == 204
