"""The only place that writes: tables for people, or JSON and nothing else on stdout for machines."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from clarion_local.cli.failures import Failure

_PIPED_WIDTH = 200
"""Columns where no terminal says how many it has: ids stay whole."""


class Output:
    """Where a command says what it found. Its JSON is the contract's own JSON form, with the field names of the protos."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = _console(stderr=False)
        self._err = _console(stderr=True)

    def document(self, document: object) -> None:
        """The whole answer as one JSON document."""
        self._out.file.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        self._out.file.flush()

    def line(self, document: object) -> None:
        """One of many answers, as a line of JSON."""
        self._out.file.write(json.dumps(document, ensure_ascii=False) + "\n")
        self._out.file.flush()

    def show(self, renderable: RenderableType) -> None:
        """Tables and texts for people."""
        self._out.print(renderable, soft_wrap=isinstance(renderable, str), markup=False, highlight=False)

    def note(self, text: str) -> None:
        """A remark for people, beside the result: on stderr, so that a pipe does not get it."""
        self._err.print(printable(text), soft_wrap=True, markup=False, highlight=False)

    def fail(self, failure: Failure) -> None:
        """Why there is no result: on stderr, or as `{"error": …}` where a machine listens."""
        if self.as_json:
            self.line({"error": failure.to_json()})
            return
        reason = f"{failure.reason}: " if failure.reason else ""
        self.note(f"clarion: {reason}{failure.message}")
        for name, rule in failure.fields:
            self.note(f"  {name}: {rule}")

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Takes views that are drawn in place of each other; without a terminal only the last one is shown."""
        last: list[RenderableType] = []

        def keep(view: RenderableType) -> None:
            last[:] = [view]

        if self._out.is_terminal:
            with Live(console=self._out, auto_refresh=False) as place:
                yield lambda view: place.update(view, refresh=True)
            return
        try:
            yield keep
        finally:
            for view in last:
                self.show(view)

    @contextmanager
    def progress(self, description: str, total: int | None) -> Iterator["Steps"]:
        """A bar on stderr, of `total` steps where that is known."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._err, disable=self.as_json, transient=True) as bar:
            yield Steps(bar, description, total)


class Steps:
    """A progress bar at work."""

    def __init__(self, bar: Progress, description: str, total: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task(description, total=total, done="")

    def at(self, completed: int, done: str) -> None:
        """How far it is, and in words what was done so far."""
        self._bar.update(self._task, completed=completed, done=done)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """A table whose cells are shown as they are: nothing in them is taken for markup or for terminal control."""
    if not rows:
        return Text(f"{title}: none" if title else "none")
    made = Table(title=title or None, title_justify="left", title_style="bold", min_width=len(title))
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def facts(title: str, values: Mapping[str, str]) -> RenderableType:
    """Names and values, one pair a line; empty values are left out."""
    made = Table(title=title or None, title_justify="left", title_style="bold", show_header=False, box=None)
    made.min_width = len(title) + 1
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values.items():
        if value:
            made.add_row(name, Text(printable(value)))
    return made


def to_json(message: Message) -> dict[str, object]:
    """A message in protobuf's JSON form, every field named even where it is empty."""
    document: dict[str, object] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def printable(text: str) -> str:
    """Text without control characters: what a stranger wrote must not move the cursor or set colours."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    return console
