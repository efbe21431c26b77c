"""SendGrid: the Event Webhook."""

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, Field

from clarion_channels.mail.receipt import Malformed, Unauthentic
from clarion_channels.providers.sendgrid import receipts
from clarion_tracker.callbacks import Call, Forged, Genuine
from clarion_tracker.inbound import Reading, Result
from clarion_tracker.ports import Reply


class _Settings(BaseModel):
    """What callbacks need of an account's credential document."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    webhook_public_key: str = Field(min_length=1, max_length=1024)


class Verifier:
    """The public key that the webhook's settings show."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    async def check(self, call: Call, now: datetime) -> Genuine:
        """Raises Forged."""
        signature = call.headers.get(receipts.SIGNATURE_HEADER, "")
        try:
            receipts.verify(self._key, signature, call.headers.get(receipts.TIMESTAMP_HEADER, ""), call.body, now)
        except Unauthentic as forged:
            raise Forged(str(forged)) from forged
        return Genuine(call.body)


class Source:
    """`callbacks.Source` of SendGrid, which sends batches."""

    kind = "sendgrid"
    stored_as = "sendgrid.events"
    media_types = frozenset({"application/json"})
    max_body_bytes = 1 << 20
    accepted = Reply(204)

    def __init__(self) -> None:
        self.decoy = Verifier(ec.generate_private_key(ec.SECP256R1()).public_key())

    def verifier(self, settings: bytes) -> Verifier:
        return Verifier(receipts.parse_key(_Settings.model_validate_json(settings).webhook_public_key))


def read(body: bytes) -> Reading:
    """Reads rows that `Source` stored."""
    try:
        return receipts.parse(body).receipts
    except (Malformed, OverflowError, OSError):
        return Result.MALFORMED
