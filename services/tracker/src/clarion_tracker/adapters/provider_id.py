"""Message ids as the dispatch engine keeps them for receipts."""


def normalise_id(message_id: str) -> str:
    """In lower case without leading zeros: what `clarion_channels.engine.outcomes.receipt_key` makes of an id."""
    text = message_id.strip().lower()
    return text.lstrip("0") or text[:1]
