"""Our record against the sandbox's, delivery by delivery (decisions: the sandbox must not share our mistakes). No I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SentDelivery:
    """A delivery that our ledger calls `sent`. `kind`: the provider's, as the sandbox names it.

    `message_id` empty: the provider gave none; then destination and digest (clarion_sandbox.content) must stand in.
    """

    delivery_id: str
    kind: str
    message_id: str
    destination: str = field(default="", repr=False)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class TakenMessage:
    """A message that the sandbox's ledger calls accepted; `n` is its number there."""

    n: int
    kind: str
    message_id: str
    destination: str = field(default="", repr=False)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What one side has and the other has not, or one has twice.

    - `missing`: deliveries called sent of which the sandbox has no message.
    - `shared`: deliveries that name a message another delivery names too.
    - `doubled`: messages that the sandbox took again under an id it had given before.
    - `foreign`: numbers of messages that belong to no sent delivery.
    """

    missing: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    doubled: tuple[int, ...] = ()
    foreign: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many deliveries and messages do not match; 0: both records say the same."""
        return len(self.missing) + len(self.shared) + len(self.doubled) + len(self.foreign)


def compare(deliveries: Sequence[SentDelivery], messages: Sequence[TakenMessage]) -> Mismatch:
    """What does not match, both directions: by the provider's message id where there is one, else by counting messages
    of the same destination and content."""
    missing: list[str] = []
    shared: list[str] = []
    doubled: list[int] = []
    taken, again = _by_id(messages)
    doubled += again
    matched: set[int] = set()
    for delivery in deliveries:
        if not delivery.message_id:
            continue
        n = taken.get(message_key(delivery.kind, delivery.message_id))
        if n is None:
            missing.append(delivery.delivery_id)
        elif n in matched:
            shared.append(delivery.delivery_id)
        else:
            matched.add(n)
    left = [message for message in messages if message.n not in matched and message.n not in set(doubled)]
    foreign, unpaired = _pair_by_content([d for d in deliveries if not d.message_id], left)
    return Mismatch(tuple(missing + unpaired), tuple(shared), tuple(doubled), tuple(foreign))


def _by_id(messages: Iterable[TakenMessage]) -> tuple[Mapping[tuple[str, str], int], list[int]]:
    """The first message of each id, and the messages that came later under the same id."""
    first: dict[tuple[str, str], int] = {}
    again: list[int] = []
    for message in messages:
        if (
            message.message_id
            and first.setdefault(message_key(message.kind, message.message_id), message.n) != message.n
        ):
            again.append(message.n)
    return first, again


def _pair_by_content(
    deliveries: Iterable[SentDelivery], messages: Iterable[TakenMessage]
) -> tuple[list[int], list[str]]:
    """Messages without a delivery, and deliveries without a message."""
    waiting = Counter((delivery.kind, delivery.destination, delivery.digest) for delivery in deliveries)
    foreign: list[int] = []
    for message in messages:
        content = (message.kind, message.destination, message.digest)
        if waiting[content] > 0:
            waiting[content] -= 1
        else:
            foreign.append(message.n)
    unpaired: list[str] = []
    for delivery in deliveries:
        content = (delivery.kind, delivery.destination, delivery.digest)
        if waiting[content] > 0:
            waiting[content] -= 1
            unpaired.append(delivery.delivery_id)
    return foreign, unpaired


def message_key(kind: str, message_id: str) -> tuple[str, str]:
    """What both sides know a message by, as either writes its id: a web push's is the end of a URL, a mail's the end of
    "Ok: queued as …"."""
    return kind, message_id.rpartition("/")[2].rpartition(" ")[2].lower()
