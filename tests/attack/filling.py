"""Requests made from the descriptors of the contracts: every field that can hold a text holds one that somebody chose."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, OneofDescriptor
from google.protobuf.message import Message

DEEPEST = 4
TOO_DEEP = 200
_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)

Chooser: TypeAlias = Callable[[FieldDescriptor], str | None]
"""What a field is to hold; None: nothing in particular."""

PLAUSIBLE: Mapping[str, str] = {
    "category": "transactional",
    "locale": "en",
    "default_locale": "en",
    "time_zone": "Asia/Seoul",
    "cron": "0 3 1 1 *",
    "title": "hello",
    "subject": "hello",
    "text": "hello",
    "source": "hello",
    "country": "KR",
    "detail": "hello",
    "note": "hello",
    "kind": "smpp",
    "url": "https://example.com/hook",
    "scopes": "status:read",
    "settings": "{}",
}
"""Values that let a request pass where nothing else is wrong with it, by field."""
_ENUMS: Mapping[str, int] = {"channel": 4, "channels": 4, "priority": 3}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that holds a text or bytes: the way to it from the request."""

    path: tuple[FieldDescriptor, ...]

    def __str__(self) -> str:
        return ".".join(field.name for field in self.path)


def leaves(descriptor: Descriptor, before: tuple[FieldDescriptor, ...] = ()) -> Iterator[Leaf]:
    """Every text and bytes field of a message, those of messages within it among them."""
    for field in descriptor.fields:
        way = (*before, field)
        if field.type in _TEXTS:
            yield Leaf(way)
        elif _enters(field) and len(way) < DEEPEST:
            yield from leaves(_inner(field), way)


def with_text(leaf: Leaf, text: bytes) -> bytes:
    """A request on the wire that holds just one text, which need not be one: nothing checks it on this side."""
    return _within(leaf.path, text)


def nested(descriptor: Descriptor, before: tuple[FieldDescriptor, ...] = ()) -> Iterator[bytes]:
    """A request for each field of free form, with a map within a map within a map in it, further than parsers go."""
    for field in descriptor.fields:
        way = (*before, field)
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Struct":
            yield _within(way, _nest())
        elif _enters(field) and len(way) < DEEPEST:
            yield from nested(_inner(field), way)


def _nest() -> bytes:
    """A google.protobuf.Struct: fields, a map of its values by key, of which each may be a Struct."""
    struct = b""
    for _ in range(TOO_DEEP):
        value = _delimited(5, struct)
        struct = _delimited(1, _delimited(1, b"a") + _delimited(2, value))
    return struct


def _within(path: tuple[FieldDescriptor, ...], encoded: bytes) -> bytes:
    for field in reversed(path):
        encoded = _delimited(field.number, encoded)
    return encoded


def _delimited(number: int, encoded: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(encoded)) + encoded


def padded(size_bytes: int) -> bytes:
    """A message of at least this size that every contract takes: one field that none of them knows."""
    return _delimited(15_000, bytes(size_bytes))


def filled(method: MethodDescriptor, text: Chooser, variant: int, *, bare: bool = False) -> Message:
    """A request in which each text is what `text` gives for its field, else something plausible.

    `variant` chooses among fields that exclude each other. `bare`: only what `text` gives.
    """
    request = _new(method.input_type)
    _fill(request, method.input_type, text, variant, 0, bare=bare)
    return request


def _fill(message: Message, descriptor: Descriptor, text: Chooser, variant: int, depth: int, *, bare: bool) -> bool:
    """Whether anything was put in."""
    any_set = False
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1 and field is not _chosen(oneof, variant):
            continue
        if field.type in _TEXTS:
            value = text(field) or (None if bare else PLAUSIBLE.get(field.name))
            if value is None:
                continue
            _put(message, field, value.encode() if field.type == FieldDescriptor.TYPE_BYTES else value)
            any_set = True
        elif field.type == FieldDescriptor.TYPE_ENUM and not bare and field.name in _ENUMS:
            _put(message, field, _ENUMS[field.name])
            any_set = True
        elif _enters(field) and depth + 1 < DEEPEST:
            inner = _new(_inner(field))
            if _fill(inner, _inner(field), text, variant, depth + 1, bare=bare):
                if field.is_repeated:
                    getattr(message, field.name).append(inner)
                else:
                    getattr(message, field.name).CopyFrom(inner)
                any_set = True
    return any_set


def _put(message: Message, field: FieldDescriptor, value: str | bytes | int) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _chosen(oneof: OneofDescriptor, variant: int) -> FieldDescriptor:
    return oneof.fields[variant % len(oneof.fields)]


def _enters(field: FieldDescriptor) -> bool:
    inner = field.message_type
    return inner is not None and not inner.full_name.startswith("google.") and not inner.GetOptions().map_entry


def _inner(field: FieldDescriptor) -> Descriptor:
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is no message")
    return field.message_type


def _new(descriptor: Descriptor) -> Message:
    return message_factory.GetMessageClass(descriptor)()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
