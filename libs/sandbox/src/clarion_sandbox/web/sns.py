"""Amazon SNS as a topic's subscriber sees it: signed envelopes, POSTed.

Source: AWS, "HTTP/HTTPS notification JSON format" and "Verifying the signatures of Amazon SNS messages".
"""

import base64
import json
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from clarion_sandbox.callbacks import Call

Version = Literal["1", "2"]


class Topic:
    """One topic, and the key its messages are signed with."""

    def __init__(self, arn: str, region: str, key: rsa.RSAPrivateKey, version: Version) -> None:
        self.arn = arn
        self._host = f"https://sns.{region}.amazonaws.com"
        self._key = key
        self._version = version

    def notification(self, message: Mapping[str, object], message_id: str) -> Call:
        """A notification; the same ``message_id`` is the same notification again."""
        return self._call(
            "Notification",
            message_id,
            {"Message": json.dumps(message), "Subject": "Amazon SES Email Event Notification"},
        )

    def confirmation(self) -> Call:
        """What a new subscriber gets first."""
        token = secrets.token_hex(64)
        return self._call(
            "SubscriptionConfirmation",
            str(uuid.uuid4()),
            {
                "Message": f"You have chosen to subscribe to the topic {self.arn}.",
                "SubscribeURL": f"{self._host}/?Action=ConfirmSubscription&TopicArn={self.arn}&Token={token}",
                "Token": token,
            },
        )

    def _call(self, kind: str, message_id: str, fields: Mapping[str, str]) -> Call:
        now = datetime.now(UTC)
        signed = {
            **fields,
            "MessageId": message_id,
            "Timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
            "TopicArn": self.arn,
            "Type": kind,
        }
        text = "".join(f"{name}\n{signed[name]}\n" for name in sorted(signed))
        digest = SHA1() if self._version == "1" else SHA256()
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), digest)
        document = {
            **signed,
            "Signature": base64.b64encode(signature).decode("ascii"),
            "SignatureVersion": self._version,
            "SigningCertURL": f"{self._host}/SimpleNotificationService-sandbox.pem",
        }
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": kind,
            "x-amz-sns-message-id": message_id,
            "x-amz-sns-topic-arn": self.arn,
        }
        return Call(headers, json.dumps(document).encode())
