"""What of a peer's answer may be shown to a person."""

import re

MAX_DETAIL_LENGTH = 256

_UNPRINTABLE = re.compile(r"[^\x21-\x7e\xa0-\ufffd]+")
_LOOKED_AT = 4 * MAX_DETAIL_LENGTH
_SHORTEST_SECRET = 8


def excerpt(answer: bytes | str, *secrets: str) -> str:
    """The beginning of an answer on one line, at most 256 characters, with every occurrence of the secrets removed.

    Pass every token and address that the request carried: peers like to echo them.
    """
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "[removed]")
    return _UNPRINTABLE.sub(" ", text[:_LOOKED_AT]).strip()[:MAX_DETAIL_LENGTH]
