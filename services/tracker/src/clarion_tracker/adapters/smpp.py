"""Receipts of SMSCs, as the SMS dispatcher stored them: the bytes of a deliver_sm."""

import re

from clarion_channels.providers.smpp.codec import CodecError
from clarion_channels.providers.smpp.receipt import NotAReceipt, State, parse_receipt
from clarion_kit.vocabulary import Receipt
from clarion_tracker.inbound import Reported, Result

KIND = "smpp.deliver_sm"
_NOT_IN_CODES = re.compile(r"[^0-9A-Za-z:._-]")
_MAX_CODE = 32


def read(body: bytes) -> Reported | Result:
    """What a deliver_sm says, or what becomes of one that is no final receipt."""
    try:
        receipt = parse_receipt(body)
    except NotAReceipt:
        return Result.MESSAGE
    except CodecError:
        return Result.MALFORMED
    # Whatever a carrier writes ends in one statement with others: what Postgres cannot store must stop here.
    if not all(id_.isprintable() for id_ in receipt.ids):
        return Result.MALFORMED
    if not receipt.state.final:
        return Result.INTERMEDIATE
    return Reported(receipt.ids, _receipt(receipt.state), _NOT_IN_CODES.sub("", receipt.error)[:_MAX_CODE])


def _receipt(state: State) -> Receipt:
    return Receipt.DELIVERED if state is State.DELIVERED else Receipt.UNDELIVERED
