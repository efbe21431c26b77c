"""The answer of a method that stands in the contract and that this mesh cannot give."""

from clarion_kit.errors import DomainError, ErrorReason


def not_built(method: str) -> DomainError:
    """NOT_BUILT for "package.Service/Method"."""
    return DomainError(ErrorReason.NOT_BUILT, f"{method} is not built yet", metadata={"method": method})
