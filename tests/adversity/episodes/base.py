"""What an episode is."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from tests.adversity.load import Rate
from tests.adversity.report import Report

GENTLE = Rate(120, batchers=1, callers=2)
"""Load of an episode: enough to have something in every stage at any moment."""


class Episode(ABC):
    """A world of its own. `run` writes into the report; it raises what starting servers raises."""

    name: ClassVar[str]

    def unavailable(self) -> str | None:
        """Why this machine does not allow it; None if it does."""
        return None

    @abstractmethod
    async def run(self, folder: Path, seed: int, report: Report) -> None: ...
