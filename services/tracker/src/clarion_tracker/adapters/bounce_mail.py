"""Delivery status notifications, as the SMTP listener stored them."""

from dataclasses import replace

from clarion_channels.mail import dsn
from clarion_tracker.adapters.mail import reported
from clarion_tracker.bounces import split
from clarion_tracker.inbound import Reading, Result, Source


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
    named = (replace(receipt, delivery_id=delivery_id) for receipt in found)
    return tuple(
        one for receipt in named if (one := reported(receipt, by_id=False, source=Source.BOUNCE_MAIL)) is not None
    )
