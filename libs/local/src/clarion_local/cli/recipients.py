"""`clarion recipients`: import and get; persons.py has the rest."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, TextIO

import typer

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion_client import AlreadyExists, ClarionError, FailedPrecondition, InvalidArgument, NotFound
from clarion_local.cli import persons, views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import REFUSED, UsageFault
from clarion_local.cli.output import Output, facts, table, to_json
from clarion_local.cli.recipient_lines import BadHeader, Record, from_csv, from_ndjson, lines

_EVERY = 500
"""Records between two looks at how far it came."""
_OF_ONE_RECORD = (InvalidArgument, NotFound, AlreadyExists, FailedPrecondition)
"""What is wrong with a record; any other error is of the whole import."""
_SHOWN = 20
"""Bad records that are shown to a person; all of them go to --bad and to --json."""

app = typer.Typer(no_args_is_help=True, help="People and where to reach them.")
persons.add_to(app)


class FileFormat(StrEnum):
    """How recipients are written in a file."""

    NDJSON = "ndjson"
    CSV = "csv"


@dataclass(slots=True)
class Tally:
    """What became of the records so far; bad ones are told at once, so that nothing grows with the file."""

    out: Output
    rest: TextIO | None
    stored: int = 0
    created: int = 0
    bad: int = 0
    last_line: int = field(default=0)

    def refuse(self, record: Record, reason: str) -> None:
        """Count, tell and keep a record that is not stored."""
        self.bad += 1
        if self.rest is not None and record.text:
            self.rest.write(record.text if record.text.endswith("\n") else f"{record.text}\n")
        if self.out.as_json:
            self.out.line({"line": record.line, "reason": reason})
        elif self.bad <= _SHOWN:
            self.out.note(f"line {record.line}: {reason}")
        elif self.bad == _SHOWN + 1:
            self.out.note("more bad lines are counted, not shown; --bad FILE keeps them all")

    def to_json(self) -> dict[str, int]:
        return {"stored": self.stored, "created": self.created, "bad": self.bad}

    def __str__(self) -> str:
        return f"{self.stored} stored ({self.created} new), {self.bad} bad"


@app.command("import")
@connected(Identity.APP)
def import_(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="NDJSON or CSV; - reads the standard input.")],
    form: Annotated[
        FileFormat | None, typer.Option("--format", help="Default: csv for files named .csv, else ndjson.")
    ] = None,
    bad: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep bad records here, to repair them.")] = None,
) -> None:
    """Store recipients from a file, as many as it holds; exit 1 if any was bad. With --json bad records one a line.

    NDJSON has one clarion.recipient.v1.Recipient in JSON form a line; CSV has a header with recipient_id and any of
    locale, time_zone, country, phone, mail, ios_token, android_token. Importing again changes nothing.
    """
    form = form or (FileFormat.CSV if file.suffix.lower() == ".csv" else FileFormat.NDJSON)
    with ExitStack() as stack:
        source, size = _source(file, stack)
        tally = Tally(session.out, _rest(bad, stack))
        records = from_csv(lines(source)) if form is FileFormat.CSV else from_ndjson(lines(source))
        steps = stack.enter_context(session.out.progress("recipients", size))
        try:
            for done in _imported(session, records, tally):
                if done % _EVERY == 0:
                    steps.at(source.tell() if size is not None else tally.stored, str(tally))
            steps.at(size if size is not None else tally.stored, str(tally))
        except BadHeader as fault:
            raise UsageFault(f"{file}: {fault}") from None
        except ClarionError:
            # What is stored stays stored: how far it came is worth as much as why it stopped.
            session.out.note(f"stopped after line {tally.last_line}: {tally}; importing again changes nothing")
            raise
    if session.out.as_json:
        session.out.line(tally.to_json())
    else:
        session.out.show(str(tally))
    if tally.bad:
        raise typer.Exit(REFUSED)


@app.command("get")
@connected(Identity.APP)
def get(session: Session, recipient_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one recipient; addresses are masked."""
    answer = session.client.recipients.get(recipient_id)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    recipient = answer.recipient
    wishes = recipient.wishes
    session.out.show(
        facts(
            recipient.recipient_id,
            {
                "locale": recipient.locale,
                "time zone": recipient.time_zone,
                "country": recipient.country,
                "revision": str(answer.revision),
                "opted out": "yes" if wishes.opted_out else "",
                "channels off": ", ".join(views.channel(number) for number in wishes.channels_off),
                "categories": ", ".join(
                    f"{choice.category} {views.channel(choice.channel)}".rstrip()
                    + (" on" if choice.enabled else " off")
                    for choice in wishes.categories
                ),
                "attributes": ", ".join(f"{one.key}={one.value}" for one in recipient.attributes.attributes),
            },
        )
    )
    rows = [
        (views.channel(stored.channel), stored.masked, views.address_status(stored.status), stored.address_id)
        for stored in answer.addresses
    ]
    session.out.show(table("addresses", ("channel", "address", "status", "id"), rows))


def _imported(session: Session, records: Iterable[Record], tally: Tally) -> Iterator[int]:
    """Stores good records and tells bad ones; gives how many of the good ones have their answer. No more are held than are in
    flight. Raises ClarionError for what is not a record's own fault."""
    unanswered: deque[Record] = deque()

    def good() -> Iterator[pb.Recipient]:
        for record in records:
            if record.recipient is None:
                tally.refuse(record, record.reason)
                continue
            unanswered.append(record)
            yield record.recipient

    with closing(session.client.recipients.import_many(good())) as outcomes:
        for done, outcome in enumerate(outcomes, start=1):
            record = unanswered.popleft()
            if isinstance(outcome, _OF_ONE_RECORD):
                tally.refuse(record, str(outcome))
            elif isinstance(outcome, ClarionError):
                raise outcome
            else:
                tally.stored += 1
                tally.created += outcome.created
            tally.last_line = record.line
            yield done


def _source(file: Path, stack: ExitStack) -> tuple[BinaryIO, int | None]:
    """The open file and its size in bytes, None where nobody knows it."""
    if str(file) == "-":
        return sys.stdin.buffer, None
    try:
        opened = stack.enter_context(file.open("rb"))
    except OSError as error:
        raise UsageFault(f"{file}: {error.strerror}") from None
    return opened, file.stat().st_size if file.is_file() else None


def _rest(bad: Path | None, stack: ExitStack) -> TextIO | None:
    if bad is None:
        return None
    try:
        return stack.enter_context(bad.open("w", encoding="utf-8", errors="surrogateescape", newline=""))
    except OSError as error:
        raise UsageFault(f"{bad}: {error.strerror}") from None
