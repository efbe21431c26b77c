"""Delivery status notifications, as the SMTP listener stored them."""

from dataclasses import replace

from clarion_channels.mail import dsn
from clarion_tracker.bounces import split
from clarion_tracker.inbound import Reading, Result


def read(body: bytes) -> Reading:
    """What became of the one mail whose return path was written to; MESSAGE for absence notes and the like.

    The signed return path names the delivery, whatever the notification says of itself.
    """
    try:
        delivery_id, mail = split(body)
    except ValueError:
        return Result.MALFORMED
    try:
        found = dsn.parse(mail).receipts()
    except dsn.NotANotification:
        return Result.MESSAGE
    return tuple(replace(receipt, delivery_id=delivery_id, ids=()) for receipt in found)
