"""Who is calling: the app and scopes behind a request, carried in a context variable.

Between daemons it travels as metadata that only the gateway may set; the gateway makes it from the token.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.vocabulary import Channel

APP_HEADER = "clarion-app"
KEY_HEADER = "clarion-key"
SCOPES_HEADER = "clarion-scopes"
RESERVED_PREFIX = "clarion-"
"""Metadata with this prefix from a client is dropped at the gateway."""

SCOPES = frozenset(
    {"recipient:write", "template:write", "status:read", "deadletter:redrive", "admin", "send:*"}
    | {f"send:{channel.slug}" for channel in Channel}
)
"""Every scope a key may carry."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated side of a call. `app_id` 0 means: a daemon on its own behalf."""

    daemon: str
    app_id: int = 0
    key: str = ""
    scopes: frozenset[str] = frozenset()

    def may_send(self, channel: Channel) -> bool:
        return "send:*" in self.scopes or f"send:{channel.slug}" in self.scopes

    def channels_to_name(self, named: Iterable[int]) -> list[Channel]:
        """What a policy that names these channels lacks: those the token may send on, where it names none and not all may be
        used. Raises SCOPE_MISSING for a named one that may not."""
        if "send:*" in self.scopes:
            return []
        wanted = [Channel(number) for number in named]
        for channel in wanted:
            if not self.may_send(channel):
                self.require(f"send:{channel.slug}")
        if wanted:
            return []
        return [channel for channel in Channel if self.may_send(channel)]

    def require(self, scope: str) -> None:
        """Raise SCOPE_MISSING unless the caller has `scope` (as written in the method's rule)."""
        if scope in ("none", "any") or scope in self.scopes:
            return
        if scope == "send" and any(held.startswith("send:") for held in self.scopes):
            return
        raise DomainError(ErrorReason.SCOPE_MISSING, f"the token lacks the scope {scope}", metadata={"scope": scope})

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """How the gateway hands the caller on."""
        return (
            (APP_HEADER, str(self.app_id)),
            (KEY_HEADER, self.key),
            (SCOPES_HEADER, " ".join(sorted(self.scopes))),
        )


def caller_from_metadata(daemon: str, metadata: Mapping[str, str]) -> Caller:
    """What the gateway handed on; a daemon on its own behalf where there is nothing."""
    app = metadata.get(APP_HEADER, "0")
    scopes: Sequence[str] = metadata.get(SCOPES_HEADER, "").split()
    return Caller(daemon, int(app) if app.isdigit() else 0, metadata.get(KEY_HEADER, ""), frozenset(scopes))


_current: ContextVar[Caller] = ContextVar("clarion_caller")


def current_caller() -> Caller:
    """The caller of the request being answered. Raises LookupError outside of one."""
    return _current.get()


@contextmanager
def calling_as(caller: Caller) -> Iterator[None]:
    """Answer a request on behalf of `caller`."""
    token = _current.set(caller)
    try:
        yield
    finally:
        # A stream that its client left may be closed from another context, which has nothing to reset.
        with suppress(ValueError):
            _current.reset(token)
