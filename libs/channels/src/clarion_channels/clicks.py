"""Links of one message that tell of clicks: signed where the message is made, with a key of its delivery alone."""

from clarion.internal.content.v1.rendered_pb2 import LinkSigner
from clarion_kit.links import is_trackable, sign_click


class Clicks:
    """What signs the links of a delivery; without a signer they stay as they are."""

    __slots__ = ("_delivery", "_key", "_own", "_prefix", "given")

    def __init__(self, signer: LinkSigner | None = None) -> None:
        # Read once: each look into a message of protobuf costs as much as a tenth of a signature.
        self.given = signer is not None
        self._own = f"{signer.base_url}/" if signer is not None else ""
        self._prefix = f"{self._own}c/"
        self._delivery = signer.delivery if signer is not None else b""
        self._key = signer.key if signer is not None else b""

    def url(self, number: int, target: str) -> str:
        """Where link `number` leads; `target` itself where that cannot be tracked or is the tracker's own."""
        if not self.given or target.startswith(self._own) or not is_trackable(target):
            return target
        return self._prefix + sign_click(self._key, self._delivery, number, target)


NO_CLICKS = Clicks()
