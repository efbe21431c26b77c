"""Bulk that yields, as a test wants it."""

from clarion_kit.scavenger import Scavenger


class OneByOne(Scavenger):
    """Lets bulk go one by one, and tells what it was asked and what others waited."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.waits: list[float] = []

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def step(self, most: int) -> int:
        self.asked.append(most)
        return 1
