"""What all tools of this package have in common: whatever they started ends with them."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Tool(ABC):
    """Started on entering, stopped on leaving, and stopped as well when the start fails half-way."""

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None:
        """End everything that was started. May be called again, and after a start that failed."""

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
