"""`clarion dlq`: list, show and redrive dead letters."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from rich.console import Group

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion_client import ClarionError, Client
from clarion_local.cli import dead_letter_views as views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import REFUSED, UsageFault
from clarion_local.cli.options import ChannelName, SinceOption
from clarion_local.cli.output import facts, table, to_json

CHUNK = 500
"""Letters a call: few enough that the bar moves."""
_MAX_PAGE = 500
_DONE = (pb.REDRIVE_OUTCOME_REDRIVEN, pb.REDRIVE_OUTCOME_ALREADY_REDRIVEN)

app = typer.Typer(no_args_is_help=True, help="Deliveries that ended without a provider's answer.")


class ReasonName(StrEnum):
    """Why letters are dead, as it is typed."""

    RETRIES_EXHAUSTED = "retries_exhausted"
    POISON = "poison"
    HELD_TOO_LONG = "held_too_long"
    PROVIDER_DELETED = "provider_deleted"

    @property
    def reason(self) -> state_pb2.Reason.ValueType:
        return state_pb2.Reason.Value(f"REASON_{self.name}")


ChannelOption = Annotated[ChannelName | None, typer.Option(help="Only this channel.")]
ReasonOption = Annotated[ReasonName | None, typer.Option(help="Only this reason.")]
ProviderOption = Annotated[str, typer.Option(metavar="NAME", help="Only those that this provider account had last.")]
CodeOption = Annotated[str, typer.Option("--code", metavar="CODE", help="Only those with this last code.")]


@app.command("list")
@connected(Identity.APP)
def list_(
    session: Session,
    channel: ChannelOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: SinceOption = None,
    provider: ProviderOption = "",
    code: CodeOption = "",
    redriven: Annotated[
        bool | None, typer.Option("--redriven/--not-redriven", help="Only those that were, or not.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows.")] = 50,
) -> None:
    """List dead letters, newest first. With --json one a line."""
    found = islice(
        session.client.dead_letters.list(
            channel=channel.channel if channel else None,
            reason=reason.reason if reason else state_pb2.REASON_UNSPECIFIED,
            since=since,
            until=until,
            provider=provider,
            last_code=code,
            redriven=redriven,
            page_size=min(limit, _MAX_PAGE),
        ),
        limit,
    )
    if session.out.as_json:
        for letter in found:
            session.out.line(to_json(letter))
        return
    session.out.show(table("", views.LETTER_COLUMNS, [views.letter_row(letter) for letter in found]))


@app.command("show")
@connected(Identity.APP)
def show(session: Session, delivery_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one dead letter: every attempt, and what the recipient would have read. Needs the scope deadletter:redrive."""
    answer = session.client.dead_letters.get(delivery_id)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(
        Group(
            facts(answer.dead_letter.delivery_id, views.letter_facts(answer)),
            table("attempts", views.ATTEMPT_COLUMNS, views.attempt_rows(answer.attempts)),
            facts("content", views.content_facts(answer.content)),
        )
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters to redrive: those named, or the first `most` that match and were not redriven."""

    ids: Sequence[str] = ()
    channel: ChannelName | None = None
    reason: ReasonName | None = None
    since: datetime | None = None
    until: datetime | None = None
    provider: str = ""
    code: str = ""
    most: int = 0

    @property
    def filtered(self) -> bool:
        return any((self.channel, self.reason, self.since, self.until, self.provider, self.code))


@dataclass(slots=True)
class Tally:
    """What became of the letters so far; those that could not be redriven are kept to be shown."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[pb.RedriveResult] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.outcomes.total()

    def add(self, answer: pb.RedriveResponse) -> None:
        for result in answer.results:
            self.outcomes[views.outcome(result.outcome)] += 1
            if result.outcome not in _DONE:
                self.refused.append(result)

    def __str__(self) -> str:
        return ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items()) or "nothing to redrive"

    def to_json(self) -> dict[str, object]:
        return {"total": self.total, "outcomes": dict(self.outcomes)}


@app.command("redrive")
@connected(Identity.APP)
def redrive(
    session: Session,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Letters by id.")] = None,
    channel: ChannelOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: SinceOption = None,
    provider: ProviderOption = "",
    code: CodeOption = "",
    every: Annotated[bool, typer.Option("--all", help="Every letter, where nothing narrows it down.")] = False,
    most: Annotated[int, typer.Option("--max", min=1, help="Most letters to send again.")] = 1_000,
    rate: Annotated[float, typer.Option(min=0.01, max=10_000, help="New deliveries a second.")] = 100.0,
) -> None:
    """Send dead letters again, paced, each once; oldest first. Those that were redriven before are passed over.

    With --json one line for each letter and a last one with the sums. Exit 1 if any could not be redriven.
    """
    wanted = Wanted(ids or (), channel, reason, since, until, provider, code, most)
    if wanted.ids and (wanted.filtered or every):
        raise UsageFault("give ids or a filter, not both")
    if not (wanted.ids or wanted.filtered or every):
        raise UsageFault("give ids, narrow it down (--channel, --code, --since, …), or say --all")
    tally = Tally()
    with session.out.progress("redriving", len(wanted.ids) or None) as steps:
        try:
            for answer in _calls(session.client, wanted, rate):
                tally.add(answer)
                steps.at(tally.total, str(tally))
                if session.out.as_json:
                    for result in answer.results:
                        session.out.line(to_json(result))
        except ClarionError:
            session.out.note(f"stopped after {tally}; redriving again goes on there")
            raise
    if session.out.as_json:
        session.out.line(tally.to_json())
    else:
        session.out.show(str(tally))
        if tally.refused:
            rows = [(result.delivery_id, views.outcome(result.outcome), "") for result in tally.refused]
            session.out.show(table("not redriven", views.OUTCOME_COLUMNS, rows))
    if tally.refused:
        raise typer.Exit(REFUSED)


def _calls(client: Client, wanted: Wanted, rate: float) -> Iterator[pb.RedriveResponse]:
    """One call after the other, each going on where and when the last one ended."""
    due_at: datetime | None = None
    if wanted.ids:
        for start in range(0, len(wanted.ids), CHUNK):
            answer = client.dead_letters.redrive(wanted.ids[start : start + CHUNK], rate_per_second=rate, due_at=due_at)
            yield answer
            due_at = _next_due(answer, due_at)
        return
    left, token = wanted.most, ""
    while left:
        answer = client.dead_letters.redrive_matching(
            channel=wanted.channel.channel if wanted.channel else None,
            reason=wanted.reason.reason if wanted.reason else state_pb2.REASON_UNSPECIFIED,
            since=wanted.since,
            until=wanted.until,
            provider=wanted.provider,
            last_code=wanted.code,
            limit=min(left, CHUNK),
            rate_per_second=rate,
            due_at=due_at,
            page_token=token,
        )
        yield answer
        left -= sum(result.outcome == pb.REDRIVE_OUTCOME_REDRIVEN for result in answer.results)
        token = answer.next_page_token
        due_at = _next_due(answer, due_at)
        if not token:
            return


def _next_due(answer: pb.RedriveResponse, before: datetime | None) -> datetime | None:
    return answer.next_due_at.ToDatetime(UTC) if answer.HasField("next_due_at") else before
