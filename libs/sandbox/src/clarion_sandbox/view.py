"""A kept message as a person or a test wants to look at it; parsed only when somebody looks."""

import base64
import json
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from .ledger import Arrival


def present(arrival: Arrival) -> dict[str, object]:
    """The content: ``json`` or ``text`` (push), ``text`` (SMS), headers and bodies (mail), else ``base64``."""
    if arrival.provider in ("smtp", "ses", "sendgrid"):
        return _mail(arrival.content)
    try:
        text = arrival.content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(arrival.content).decode("ascii")}
    if arrival.provider in ("smpp", "twilio"):
        return {"text": text}
    try:
        return {"json": json.loads(text)}
    except ValueError:
        return {"text": text}


def _mail(content: bytes) -> dict[str, object]:
    parsed = message_from_bytes(content, policy=default)
    document: dict[str, object] = {
        "headers": [[name, str(value)] for name, value in parsed.items()],
        "size": len(content),
    }
    if isinstance(parsed, EmailMessage):
        for kind in ("plain", "html"):
            part = parsed.get_body((kind,))
            if part is not None:
                document["text" if kind == "plain" else "html"] = part.get_content()
        document["attachments"] = [part.get_filename() or "" for part in parsed.iter_attachments()]
    return document
