"""Every RPC of the contracts against everybody who may not make it, and against everything that is no request.

Public ones at the gateway's port: without a token, with a worthless, an expired, a foreign one, without the scope, with
ids, names and addresses of another app, too large, with NUL and with bytes that are no text. Internal ones and those that
the gateway forwards at their own daemons: without a certificate, with one of another authority, with one of a daemon that
has no business there.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from clarion_kit import mesh
from clarion_kit.mesh import Method
from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority
from clarion_testkit.shop import ALL_SCOPES

from .calls import Answer, Metadata, ask, bearer
from .filling import filled, leaves, nested, padded, with_text
from .finding import Finding, Size
from .foreign import foreign_ids
from .forging import Mint, honest_token
from .stage import Stage

WIDTH = 8
"""Calls at once."""
STRANGERS_TEXT = "not authenticated"
_DAEMONS_PORT = frozenset({grpc.StatusCode.PERMISSION_DENIED})
_SHUT = frozenset({grpc.StatusCode.UNAVAILABLE})
_DEFECTS = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE})
_WATCH_SECONDS = 5.0
_SCOPED: Mapping[str, Callable[[str], bool]] = {
    "send": lambda scope: scope.startswith("send:"),
    "recipient:write": lambda scope: scope == "recipient:write",
    "template:write": lambda scope: scope == "template:write",
    "status:read": lambda scope: scope == "status:read",
    "deadletter:redrive": lambda scope: scope == "deadletter:redrive",
    "admin": lambda scope: False,
}
"""Which of an app's scopes a method's rule is met by; an app has no `admin`."""

_CUT_SHORT = b"\x0a\x7fab"
"""A text or message of 127 bytes, of which two are there."""
_OWN: Mapping[str, str] = dict.fromkeys(
    ("recipient_id", "recipient_ids", "into_recipient_id", "from_recipient_id", "topic", "name"), "nul"
)
"""What a request with a NUL has beside it, so that nothing else is wrong with it."""

Judge = Callable[[Answer], bool]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that must be refused in the way that `refused` tells."""

    case: str
    path: str
    request: bytes
    refused: Judge
    metadata: Metadata = ()
    timeout_seconds: float = 60.0

    async def escape(self, channel: grpc.aio.Channel) -> str:
        """A line of what got through; empty if it was refused as it must."""
        answer = await ask(
            channel,
            self.path,
            self.request,
            self.metadata,
            timeout_seconds=self.timeout_seconds,
            most_responses=1,
        )
        if self.refused(answer):
            return ""
        return f"{self.case}: {self.path} answered {answer.code.name} {answer.text[:120]!r} {answer.metadata}"


async def attack(stage: Stage, size: Size) -> Finding:
    """The whole matrix; the short form leaves out some identities and most texts. Raises ClarionError where the stage
    itself does not work."""
    began = time.monotonic()
    tally: Counter[str] = Counter()
    escapes: list[str] = []
    async with stage.gateway_channel() as channel:
        await _make(channel, [attempt async for attempt in _at_the_gateway(stage, size)], tally, escapes)
    async with _doors(stage, size) as doors:
        for daemon_channel, attempts in doors:
            await _make(daemon_channel, attempts, tally, escapes)
    foreign = await foreign_ids(stage, size)
    escapes += foreign.escapes
    return Finding(
        "rpc_matrix",
        tally.total() + foreign.tries,
        escapes,
        {
            "public_rpcs": len(mesh.public_methods()),
            "internal_rpcs": sum(len(service.methods) for service in mesh.internal_services()),
            "foreign_ids": foreign.tries,
            **foreign.notes,
            **{case.replace(" ", "_"): count for case, count in sorted(tally.items())},
            "seconds": round(time.monotonic() - began, 1),
        },
    )


async def _make(
    channel: grpc.aio.Channel, attempts: Sequence[Attempt], tally: Counter[str], escapes: list[str]
) -> None:
    waiting = iter(attempts)

    async def work() -> None:
        for attempt in waiting:
            escape = await attempt.escape(channel)
            tally[attempt.case] += 1
            if escape:
                escapes.append(escape)

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(work())


# ---------------------------------------------------------------- what answers must be


def _of(codes: frozenset[grpc.StatusCode]) -> Judge:
    return lambda answer: answer.code in codes and not answer.responses


def _turned_away(answer: Answer) -> bool:
    """As a stranger is: one text for every cause, and nothing beside it."""
    return (
        answer.code is grpc.StatusCode.UNAUTHENTICATED
        and answer.text == STRANGERS_TEXT
        and not answer.metadata
        and not answer.responses
    )


def _too_large(answer: Answer) -> bool:
    return answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not answer.responses


def _no_defect(answer: Answer) -> bool:
    """A NUL may be harmless where nobody stores it; what it must not do is break something."""
    return answer.code not in _DEFECTS


def _unreadable(answer: Answer) -> bool:
    return (
        answer.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAUTHENTICATED)
        and "Unexpected" not in answer.text
        and not answer.responses
    )


# ---------------------------------------------------------------- the public port


async def _at_the_gateway(stage: Stage, size: Size) -> AsyncIterator[Attempt]:
    mint = Mint.of(stage)
    own = await honest_token(stage, stage.attacker.app_key, stage.attacker.app_secret)
    ends = stage.stack.endpoints
    operators = await honest_token(stage, ends.admin_key, ends.admin_secret)
    narrowed = {scope: await _token_without(stage, scope) for scope in _SCOPED}
    now = int(time.time())
    strangers: Mapping[str, Metadata] = {
        "no token": (),
        "garbage token": bearer("x" * 40),
        "expired token": bearer(mint.signed(iat=now - 900, nbf=now - 900, exp=now - 1)),
        "foreign audience": bearer(mint.signed(aud="another mesh")),
        "foreign key": bearer(mint.stranger().signed()),
    }
    for descriptor, method in public():
        for case, metadata in strangers.items():
            yield Attempt(case, method.path, b"", _turned_away, metadata)
        good = () if method.required_scope == "none" else bearer(operators if _needs_admin(method) else own)
        if method.required_scope in narrowed:
            metadata = bearer(narrowed[method.required_scope])
            yield Attempt("missing scope", method.path, b"", _of(_DAEMONS_PORT), metadata)
        yield Attempt("oversize", method.path, padded(method.max_request_bytes + 1), _too_large, good)
        for request in _with_nul(descriptor, size):
            yield Attempt("nul", method.path, request, _no_defect, good, _WATCH_SECONDS)
        for request in _no_text(descriptor, size):
            yield Attempt("no utf-8", method.path, request, _unreadable, good)
            yield Attempt("no utf-8, no token", method.path, request, _unreadable)
        for request in (*nested(descriptor.input_type), _CUT_SHORT):
            yield Attempt("no message", method.path, request, _unreadable, good)
    not_here = _of(frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED}))
    for service in mesh.internal_services():
        for descriptor in service.methods:
            for case, metadata in (("no token", ()), ("own token", bearer(own)), ("admin token", bearer(operators))):
                path = f"/{service.full_name}/{descriptor.name}"
                yield Attempt(f"internal with {case}", path, b"", not_here, metadata)


def public() -> Iterator[tuple[MethodDescriptor, Method]]:
    """Every public RPC, with its rule."""
    methods = mesh.public_methods()
    for service in mesh.public_services():
        for descriptor in service.methods:
            yield descriptor, methods[f"/{service.full_name}/{descriptor.name}"]


def _needs_admin(method: Method) -> bool:
    return method.required_scope == "admin"


async def _token_without(stage: Stage, scope: str) -> str:
    """Of a key of the attacker's with every scope of an app but those that this one is met by."""
    scopes = [held for held in ALL_SCOPES if not _SCOPED[scope](held)]
    key = await stage.operator.apps.create_key(stage.attacker.name, scopes)
    return await honest_token(stage, key.key.app_key, key.app_secret)


def _with_nul(descriptor: MethodDescriptor, size: Size) -> Iterator[bytes]:
    """For each (in short for every fifth) text field a plausible request that has a NUL there; later fields win over earlier ones."""
    plausible = filled(descriptor, lambda field: _OWN.get(field.name), 1).SerializeToString()
    for leaf in islice(leaves(descriptor.input_type), 0, None, 1 if size is Size.FULL else 5):
        yield plausible + with_text(leaf, b"a\0b")


def _no_text(descriptor: MethodDescriptor, size: Size) -> Iterator[bytes]:
    texts = [leaf for leaf in leaves(descriptor.input_type) if leaf.path[-1].type == FieldDescriptor.TYPE_STRING]
    for leaf in texts if size is Size.FULL else texts[:1]:
        yield with_text(leaf, b"\xff\xfe\x80")


# ---------------------------------------------------------------- the daemons' own ports


@asynccontextmanager
async def _doors(stage: Stage, size: Size) -> AsyncIterator[list[tuple[grpc.aio.Channel, list[Attempt]]]]:
    """Channels to each daemon, one for each who has no business there, with what they try."""
    forged: Metadata = (
        ("clarion-app", str(stage.victim_id)),
        ("clarion-key", stage.victim.app_key),
        ("clarion-scopes", "admin"),
    )
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        doors: list[tuple[grpc.aio.Channel, list[Attempt]]] = []
        for daemon in mesh.DAEMONS:
            if daemon == mesh.GATEWAY:
                continue
            services = list(_served_by(daemon))
            for identity in (None, *_identities(size)):
                attempts = [
                    Attempt(
                        "daemon without a certificate" if identity is None else "daemon that may not call",
                        path,
                        b"",
                        _of(_SHUT if identity is None else _DAEMONS_PORT),
                        forged,
                    )
                    for service, paths in services
                    if identity is None or identity not in mesh.callers(service)
                    for path in paths
                ]
                if attempts:
                    channel = await opened.enter_async_context(stage.daemon_channel(daemon, identity))
                    doors.append((channel, attempts))
            impostor = _impostor(folder / daemon, Path(stage.stack.endpoints.ca_file))
            channel = await opened.enter_async_context(stage.channel_with(daemon, impostor))
            doors.append(
                (
                    channel,
                    [
                        Attempt("certificate of another authority", path, b"", _of(_SHUT), forged)
                        for _, paths in services
                        for path in paths
                    ],
                )
            )
        yield doors


def _served_by(daemon: str) -> Iterator[tuple[str, list[str]]]:
    """Services of a daemon with the paths of their methods."""
    for service in (*mesh.public_services(), *mesh.internal_services()):
        server = mesh.served_by(service)
        if server == daemon or (server == "dispatcher" and daemon in mesh.DISPATCHERS):
            yield service.full_name, [f"/{service.full_name}/{method.name}" for method in service.methods]


def _identities(size: Size) -> Sequence[str]:
    everyone = (*mesh.DAEMONS, "operator", "sandbox")
    return everyone if size is Size.FULL else ("dispatcher_sms", "monitor", "sandbox")


def _impostor(folder: Path, ca: Path) -> TlsFiles:
    """The gateway's name, given by an authority that the mesh does not know."""
    made = Authority.create(folder).issue("gateway", dns=["gateway"])
    return TlsFiles(ca, made.cert, made.key)
