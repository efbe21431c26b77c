"""Progress bars of the demonstration."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from clarion_local.demo.record import Pending


@contextmanager
def counting(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar; the function takes how many are done."""
    with _progress(console) as progress:
        task = progress.add_task(what, total=total, note="")
        yield lambda done: progress.update(task, completed=done)


class Watch:
    """Two bars: what was handed in, and what arrived at the providers with what is still on its way."""

    def __init__(self, progress: Progress, accepting: TaskID, arriving: TaskID) -> None:
        self._progress = progress
        self._accepting = accepting
        self._arriving = arriving

    def update(self, accepted: int, arrived: int, pending: Pending) -> None:
        self._progress.update(self._accepting, completed=accepted)
        expected = arrived + pending.to_plan + pending.deliveries
        self._progress.update(self._arriving, completed=arrived, total=max(expected, 1), note=str(pending))


@contextmanager
def watching(console: Console, notifications: int) -> Iterator[Watch]:
    """The bars of sending."""
    with _progress(console) as progress:
        accepting = progress.add_task("Accepted", total=notifications, note="")
        arriving = progress.add_task("At providers", total=None, note="")
        yield Watch(progress, accepting, arriving)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
