"""Envelope senders: bounces to them say by themselves which account and delivery they are about."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from clarion_kit.links import ReturnPath, sign_return_path

ReturnAddress = Callable[[UUID], str]
"""The envelope sender of a delivery."""


def return_addresses(key: bytes, lane_id: int, domain: str) -> ReturnAddress:
    """Signed envelope senders of one account's mails; the tracker takes bounces to them and to no other."""
    return partial(_return_address, key, lane_id, domain)


def _return_address(key: bytes, lane_id: int, domain: str, delivery_id: UUID) -> str:
    return f"{sign_return_path(key, ReturnPath(lane_id, delivery_id))}@{domain}"
