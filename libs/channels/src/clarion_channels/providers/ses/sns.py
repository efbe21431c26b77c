"""Amazon SNS over HTTPS: the envelope of a call and its signature. Pure.

Source: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html. Calls repeat: dedupe by
`Envelope.message_id`. The certificate is fetched by the caller, from what `certificate_url` gives.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Collection
from datetime import datetime
from enum import Enum
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.mail.receipt import Malformed, Unauthentic

MAX_BODY_BYTES = 512 * 1024
"""SNS carries 256 KiB, which JSON in JSON may double."""

_AWS_HOST = re.compile(r"sns\.[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}\.amazonaws\.com(?:\.cn)?")


class Kind(Enum):
    """The header x-amz-sns-message-type says the same."""

    NOTIFICATION = "Notification"
    SUBSCRIPTION = "SubscriptionConfirmation"
    UNSUBSCRIPTION = "UnsubscribeConfirmation"


_SIGNED = {
    Kind.NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    Kind.SUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    Kind.UNSUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Envelope(BaseModel):
    """One call of SNS. Nothing in it is to be believed before `verify`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Kind = Field(alias="Type")
    message_id: str = Field(alias="MessageId", min_length=1, max_length=100)
    topic_arn: str = Field(alias="TopicArn", max_length=1024)
    message: str = Field(alias="Message")
    timestamp: str = Field(alias="Timestamp", max_length=64)
    signature: str = Field(alias="Signature", max_length=2048)
    signature_version: str = Field(alias="SignatureVersion", max_length=8)
    certificate_url: str = Field(alias="SigningCertURL", max_length=1024)
    subject: str | None = Field(default=None, alias="Subject")
    token: str | None = Field(default=None, alias="Token")
    subscribe_url: str | None = Field(default=None, alias="SubscribeURL", max_length=4096)

    @property
    def canonical(self) -> bytes:
        """What is signed: names and values in turn, one a line; what is absent is left out."""
        values = {
            "Message": self.message,
            "MessageId": self.message_id,
            "Subject": self.subject,
            "SubscribeURL": self.subscribe_url,
            "Timestamp": self.timestamp,
            "Token": self.token,
            "TopicArn": self.topic_arn,
            "Type": self.kind.value,
        }
        lines = (f"{name}\n{value}\n" for name in _SIGNED[self.kind] if (value := values[name]) is not None)
        return "".join(lines).encode("utf-8", "surrogatepass")


def parse(body: bytes) -> Envelope:
    """The envelope of a call. Raises `Malformed`."""
    if len(body) > MAX_BODY_BYTES:
        raise Malformed("the body is too big")
    try:
        return Envelope.model_validate_json(body)
    except ValidationError as error:
        raise Malformed("the body is no message of SNS") from error


def certificate_url(envelope: Envelope) -> str:
    """Where the certificate lies, once it is sure that AWS put it there. Raises `Unauthentic`."""
    target = _aws(envelope.certificate_url)
    if not target.endswith(".pem"):
        raise Unauthentic("the certificate's URL names no certificate")
    return target


def confirmation_url(envelope: Envelope, topics: Collection[str]) -> str:
    """What to GET to confirm a subscription, for a known topic alone. Raises `Unauthentic`."""
    if envelope.kind is not Kind.SUBSCRIPTION or not envelope.subscribe_url:
        raise Unauthentic("the message asks for no confirmation")
    if envelope.topic_arn not in topics:
        raise Unauthentic("the topic is not known")
    return _aws(envelope.subscribe_url)


def _aws(url: str) -> str:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Unauthentic("the URL holds characters that none of AWS does")
    try:
        target = urlsplit(url)
        port = target.port
    except ValueError as error:
        raise Unauthentic("the URL cannot be read") from error
    if target.scheme != "https" or port not in (None, 443) or not _AWS_HOST.fullmatch(target.hostname or ""):
        raise Unauthentic("the URL is not on a host of SNS")
    if "@" in target.netloc:
        raise Unauthentic("the URL has a user part")
    return url


def verify(envelope: Envelope, certificate_pem: bytes, now: datetime) -> None:
    """Raise `Unauthentic` unless the certificate, valid at `now`, signed this envelope."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = certificate.public_key()
    except ValueError as error:
        raise Unauthentic("the certificate cannot be read") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise Unauthentic("the certificate's key is not RSA of 2,048 bits or more")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise Unauthentic("the certificate is not valid now")
    digest = {"1": SHA1(), "2": SHA256()}.get(envelope.signature_version)
    if digest is None:
        raise Unauthentic("the signature's version is unknown")
    try:
        given = b64decode(envelope.signature, validate=True)
        key.verify(given, envelope.canonical, padding.PKCS1v15(), digest)
    except (binascii.Error, InvalidSignature) as error:
        raise Unauthentic("the signature does not fit") from error
