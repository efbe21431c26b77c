"""Provider plug-ins as the edge uses them: is the kind known, are the settings good?"""

import json

from pydantic import ValidationError

from clarion_channels.engine.lanes import provider_factories
from clarion_channels.port import ProviderFactory, ProviderUnavailable
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.vocabulary import Channel

_PUBLIC = {"ses": ("topic_arns",), "sendgrid": ("webhook_public_key",)}
"""By kind: what its callbacks are proven with and nobody can send with. Where callbacks are proven with a secret (Huawei,
Twilio) a deleted account takes none."""


def proof_of_callbacks(kind: str, settings: bytes) -> bytes:
    """What a deleted account keeps of its document, so that late receipts still find their deliveries."""
    document = json.loads(settings)
    return json.dumps({name: document[name] for name in _PUBLIC.get(kind, ()) if name in document}).encode()


def sender_of(settings: bytes) -> str | None:
    """The From address of a mail account; None of a kind that names it otherwise."""
    sender = json.loads(settings).get("from_address")
    return sender if isinstance(sender, str) else None


class _Discarded:
    """Receipts of a provider that is only made to check its settings."""

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise RuntimeError("a provider under check has no receipts")


class ProviderKinds:
    """Installed provider kinds, loaded when first asked for."""

    def __init__(self) -> None:
        self._factories: dict[str, ProviderFactory] | None = None

    async def check(self, kind: str, settings: bytes) -> Channel:
        """The channel of a kind. Raises PROVIDER_NOT_FOUND, PROVIDER_SETTINGS_INVALID; connects to nobody."""
        if self._factories is None:
            self._factories = provider_factories()
        factory = self._factories.get(kind)
        if factory is None:
            raise DomainError(
                ErrorReason.PROVIDER_NOT_FOUND,
                f"there is no provider kind {kind[:64]!r}",
                metadata={"provider": kind[:64]},
            )
        try:
            provider = await factory.connect(settings, _Discarded())
        except ValidationError as faulty:
            faults = "; ".join(
                f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
                for error in faulty.errors(include_input=False)
            )
            raise _invalid(kind, faults) from None
        except ProviderUnavailable as unusable:
            raise _invalid(kind, str(unusable)) from None
        except (OSError, ValueError) as file:  # a file that the settings name; ValueError may quote what it holds
            raise _invalid(kind, f"a file cannot be used: {type(file).__name__}") from None
        await provider.close()
        return Channel(factory.channel)


def _invalid(kind: str, faults: str) -> DomainError:
    return DomainError(
        ErrorReason.PROVIDER_SETTINGS_INVALID,
        f"the settings of {kind} are faulty: {faults}"[:1_000],
        metadata={"provider": kind, "faults": faults[:1_000]},
    )
