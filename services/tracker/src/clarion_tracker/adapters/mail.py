"""What receipts of mails mean, whichever way they came."""

from clarion_channels.mail.receipt import Bounce, Event, MailReceipt, Suppression
from clarion_kit.vocabulary import Receipt
from clarion_tracker.adapters.provider_id import normalise_id
from clarion_tracker.inbound import News, Reported, Source

_RECEIPTS = {
    Event.REJECTED: Receipt.UNDELIVERED,
    Event.BOUNCED: Receipt.UNDELIVERED,
    Event.DELIVERED: Receipt.DELIVERED,
    # Whoever complains or unsubscribes has it.
    Event.COMPLAINED: Receipt.DELIVERED,
    Event.UNSUBSCRIBED: Receipt.DELIVERED,
    Event.OPENED: Receipt.SEEN,
    Event.CLICKED: Receipt.CLICKED,
}
_SUPPRESSED = {Suppression.COMPLAINT: News.COMPLAINT, Suppression.UNSUBSCRIBE: News.UNSUBSCRIBED}
_BOUNCED = {Bounce.HARD: News.HARD_BOUNCE, Bounce.SOFT: News.SOFT_BOUNCE}


def reported(receipt: MailReceipt, *, by_id: bool, source: Source = Source.PROVIDER) -> Reported | None:
    """None where it says nothing that is kept. `by_id`: the provider's id names one mail, should it not echo ours."""
    raised = None if receipt.machine else _RECEIPTS.get(receipt.event)
    news = _news(receipt)
    ids = (normalise_id(receipt.provider_message_id),) if by_id and receipt.provider_message_id else ()
    if (raised is None and news is None) or (receipt.delivery_id is None and not ids):
        return None
    return Reported(ids, raised, receipt.code, receipt.delivery_id, news, receipt.occurred_at, source)


def _news(receipt: MailReceipt) -> News | None:
    if receipt.suppression is not None:
        return _SUPPRESSED[receipt.suppression]
    if receipt.bounce is not None:
        return _BOUNCED[receipt.bounce]
    return News.ARRIVED if receipt.event is Event.DELIVERED else None
