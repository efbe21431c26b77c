"""Huawei Push Kit: message receipts."""

import hashlib
import secrets
from datetime import datetime

from clarion_channels.providers.huawei import receipts
from clarion_channels.providers.huawei.settings import HuaweiSettings
from clarion_tracker.callbacks import Call, Forged, Genuine
from clarion_tracker.inbound import Reading, Result
from clarion_tracker.ports import Reply


class Verifier:
    """User and key of an account's receipt configuration."""

    def __init__(self, user: str, key: str) -> None:
        self._user = user
        self._key = key

    async def check(self, call: Call, now: datetime) -> Genuine:
        """Raises Forged. The header does not sign the body, so it serves once: whoever saw it can send nothing else."""
        header = call.headers.get(receipts.HEADER.lower(), "")
        try:
            receipts.verify(header, self._user, self._key, now)
        except receipts.Forged as forged:
            raise Forged(str(forged)) from forged
        signed = receipts.identity(header)
        return Genuine(hashlib.sha256(signed.encode("utf-8", "surrogateescape")).digest())


class Source:
    """`callbacks.Source` of Huawei."""

    kind = "huawei"
    stored_as = "huawei.receipts"
    media_types = frozenset({"application/json"})
    max_body_bytes = 64 << 10
    accepted = Reply(200, "application/json", receipts.ANSWER)

    def __init__(self) -> None:
        self.decoy = Verifier("", secrets.token_hex(16))

    def verifier(self, settings: bytes) -> Verifier:
        account = HuaweiSettings.model_validate_json(settings)
        if not account.callback_key.get_secret_value():
            raise ValueError("the account takes no callbacks")
        return Verifier(account.callback_user, account.callback_key.get_secret_value())


def read(body: bytes) -> Reading:
    """Reads rows that `Source` stored."""
    try:
        return tuple(receipts.parse(body))
    except (receipts.Malformed, OverflowError, OSError):
        return Result.MALFORMED
