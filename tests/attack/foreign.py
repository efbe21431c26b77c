"""The matrix's foreign ids: an attacker with good keys names what is a victim's, in every field that can name something.

Three things give an escape away: the victim's rows are others than before; an answer has something of the victim's that the
request did not have; an answer differs from the one for names that nobody has, so that it tells what exists.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message

from clarion_kit import mesh

from .belongings import Belongings, victim_with_belongings
from .calls import Answer, Metadata, ask, bearer
from .filling import filled
from .finding import Size
from .fingerprint import fingerprint
from .forging import honest_token
from .stage import Stage

VICTIM = "matrix-victim"
VARIANTS = {Size.SHORT: 2, Size.FULL: 5}
"""In full as many members as the widest choice has that a name stands in (addresses)."""
WATCH_SECONDS = 1.0
"""Of looking at a stream that never ends: what is there to be told is told at once."""
_WHAT_EVERY_APP_HAS = ("category", "template", "partial")
_FINE = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
_FIRST, _CREATING, _LAST = 0, 1, 2
_CREATES = ("Put", "Upsert", "Register", "Import", "Subscribe", "Suppress")


@dataclass(slots=True)
class Foreign:
    """What came of it. `notes`: how many answers had which code."""

    tries: int = 0
    escapes: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)


async def foreign_ids(stage: Stage, size: Size) -> Foreign:
    """Every public method with names of a victim, each beside the same call with names of nobody's. Raises ClarionError,
    TimeoutError where the victim cannot be set up."""
    found = Foreign()
    codes: Counter[str] = Counter()
    async with victim_with_belongings(stage, VICTIM) as (app_id, victims), stage.gateway_channel() as channel:
        nobodys = victims.nobodys(stage.random("nobody"))
        token = await honest_token(stage, stage.attacker.app_key, stage.attacker.app_secret)
        metadata: Metadata = (
            *bearer(token),
            # What only the gateway may set: a client's own are to be dropped.
            ("clarion-app", str(app_id)),
            ("clarion-key", victims.texts["app_key"]),
            ("clarion-scopes", "admin"),
        )
        before = await fingerprint(stage.pool, app_id)
        taken: set[str] = set()
        for method in _in_order():
            path = f"/{method.containing_service.full_name}/{method.name}"
            watched = method.server_streaming and not method.client_streaming
            pairs = list(_requests(method, victims, nobodys, VARIANTS[size]))
            seen = await _watched(channel, path, pairs, metadata) if watched else []
            for number, (theirs, nobody) in enumerate(pairs):
                answers = (
                    seen[number] if watched else [await ask(channel, path, one, metadata) for one in (theirs, nobody)]
                )
                found.tries += 2
                codes[answers[0].code.name.lower()] += 1
                if answers[0].code is grpc.StatusCode.OK:
                    taken |= victims.may_be_taken(theirs)
                found.escapes += [
                    f"foreign ids: {path} {complaint}"
                    for complaint in complaints(
                        method, victims, nobodys, (theirs, nobody), answers, watched=watched, taken=taken
                    )
                ]
        after = await fingerprint(stage.pool, app_id)
    found.escapes += [f"foreign ids changed a victim's {line}" for line in before.differences(after)]
    found.notes = {
        "victim_rows": before.rows,
        "victim_tables": before.filled_tables,
        **{f"foreign_{code}": count for code, count in sorted(codes.items())},
    }
    return found


async def _watched(
    channel: grpc.aio.Channel, path: str, pairs: Sequence[tuple[bytes, bytes]], metadata: Metadata
) -> list[list[Answer]]:
    """What streams without end tell in a while, for each pair; all of them at once."""
    asked = [ask(channel, path, one, metadata, timeout_seconds=WATCH_SECONDS) for pair in pairs for one in pair]
    answers = await asyncio.gather(*asked)
    return [list(answers[place : place + 2]) for place in range(0, len(answers), 2)]


def _in_order() -> Iterator[MethodDescriptor]:
    """Those that make things of the attacker's own come last: what they made would answer in place of nothing."""
    methods = [method for service in mesh.public_services() for method in service.methods]
    yield from sorted(methods, key=_turn)


def _turn(method: MethodDescriptor) -> int:
    if method.name == "PutCategory":
        return _LAST
    return _CREATING if method.name.startswith(_CREATES) and method.name != "PutSchedule" else _FIRST


def _requests(
    method: MethodDescriptor, victims: Belongings, nobodys: Belongings, variants: int
) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of requests, different ones only: whole ones, such whose only fault is whom they name, and names alone."""
    seen: set[bytes] = set()
    for variant in range(variants):
        for but, bare in product(((), _WHAT_EVERY_APP_HAS), (False, True)):
            theirs, nobody = (
                filled(method, whose.text_for(method, but=but), variant, bare=bare).SerializeToString(
                    deterministic=True
                )
                for whose in (victims, nobodys)
            )
            if theirs not in seen:
                seen.add(theirs)
                yield theirs, nobody


def complaints(
    method: MethodDescriptor,
    victims: Belongings,
    nobodys: Belongings,
    requests: Sequence[bytes],
    answers: Sequence[Answer],
    *,
    watched: bool,
    taken: Collection[str] = (),
) -> Iterator[str]:
    """What is wrong with a pair of answers, `requests` being the victim's and nobody's; none: they tell nothing. `taken`:
    names that the attacker has by now given to what is its own."""
    theirs, nobody = answers
    fine = _FINE | {grpc.StatusCode.DEADLINE_EXCEEDED} if watched else _FINE
    if theirs.code not in fine:
        yield f"answered {theirs.code.name} {theirs.text[:120]!r}"
    for response in theirs.responses:
        if told := victims.told(response, requests[0], taken=taken):
            yield f"told {', '.join(told)}"
    if theirs.code is not nobody.code:
        yield f"answered {theirs.code.name} for what is there and {nobody.code.name} for what is not"
    elif _without(theirs.text, victims) != _without(nobody.text, nobodys):
        yield f"says {theirs.text[:100]!r} for what is there and {nobody.text[:100]!r} for what is not"
    elif not watched and _shapes(method, theirs) != _shapes(method, nobody):
        yield "answers in another form for what is there than for what is not"


def _without(text: str, names: Belongings) -> str:
    """A text of an error with every name put out of it."""
    for name in sorted(names.texts.values(), key=len, reverse=True):
        text = text.replace(name, "…")
    return text


Shape = tuple["int | bool | float | str | Shape", ...]


def _shapes(method: MethodDescriptor, answer: Answer) -> list[Shape]:
    kind = message_factory.GetMessageClass(method.output_type)
    return [_shape(_parsed(kind, response)) for response in answer.responses]


def _parsed(kind: type[Message], response: bytes) -> Message:
    try:
        return kind.FromString(response)
    except DecodeError:
        return kind()


def _shape(message: Message) -> Shape:
    """Which fields are set and what numbers stand in them; no texts and no moments, which differ by themselves."""
    shape: list[int | bool | float | str | Shape] = []
    for descriptor, value in message.ListFields():
        values = list(value) if descriptor.is_repeated else [value]
        shape += [descriptor.name, len(values)]
        for one in values:
            if isinstance(one, Message):
                if not one.DESCRIPTOR.full_name.startswith("google.protobuf."):
                    shape.append(_shape(one))
            elif descriptor.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
                shape.append(one)
    return tuple(shape)
