"""`clarion budgets`."""

from enum import StrEnum
from typing import Annotated

import typer

from clarion.budget.v1 import budget_service_pb2 as pb
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.output import table, to_json

app = typer.Typer(no_args_is_help=True, help="Bounds of what SMS may cost. Needs a key with the scope admin.")

COLUMNS = ("numbers of", "segments", "used", "left", "period", "ends (UTC)", "critical ones", "state")

_AppArgument = Annotated[str, typer.Argument(metavar="APP")]
_CountryOption = Annotated[
    str, typer.Option(metavar="CODE", help="Country of the numbers, e.g. KR; without it all that have no own budget.")
]
_PrefixOption = Annotated[
    str, typer.Option(metavar="DIGITS", help="First digits of the numbers, 1-7, without +; instead of a country.")
]


class PeriodName(StrEnum):
    """Periods as they are typed."""

    DAY = "day"
    MONTH = "month"


@app.command()
@connected(Identity.OPERATOR)
def put(
    session: Session,
    app_name: _AppArgument,
    segments: Annotated[int, typer.Option(min=0, metavar="N", help="Limit in a period; 0 lets nothing through.")],
    country: _CountryOption = "",
    prefix: _PrefixOption = "",
    period: Annotated[PeriodName, typer.Option(help="How long it lasts.")] = PeriodName.MONTH,
    zone: Annotated[str, typer.Option(metavar="ZONE", help="IANA time zone whose midnight ends a period.")] = "UTC",
    shadow: Annotated[bool, typer.Option("--shadow", help="Count and warn, but stop nothing.")] = False,
    stops_critical: Annotated[
        bool, typer.Option("--stops-critical", help="Critical categories stop at the limit, too.")
    ] = False,
    near: Annotated[int, typer.Option(min=1, max=100, metavar="PERCENT", help="Share from which on it warns.")] = 80,
) -> None:
    """Create or replace a budget. What was used stays, unless the period or its zone changes."""
    answer = session.client.budgets.put(
        app_name,
        pb.SmsBudget(
            country=country,
            prefix=prefix,
            segments=segments,
            period=pb.BudgetPeriod.Value(f"BUDGET_PERIOD_{period.name}"),
            time_zone=zone,
            shadow=shadow,
            stops_critical=stops_critical,
            near_limit_percent=near,
        ),
    )
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(table("", COLUMNS, [_row(answer.state)]))


@app.command("list")
@connected(Identity.OPERATOR)
def list_(session: Session, app_name: _AppArgument) -> None:
    """List an app's budgets and what is used of them."""
    answer = session.client.budgets.list(app_name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(table("", COLUMNS, [_row(state) for state in answer.budgets]))


@app.command()
@connected(Identity.OPERATOR)
def delete(session: Session, app_name: _AppArgument, country: _CountryOption = "", prefix: _PrefixOption = "") -> None:
    """Remove a budget; its SMS are free of it within 2 seconds."""
    answer = session.client.budgets.delete(app_name, country=country, prefix=prefix)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show("removed" if answer.deleted else "there was no such budget")


def _row(state: pb.SmsBudgetState) -> tuple[str, ...]:
    budget = state.budget
    near = f"{budget.near_limit_percent} % reached" if state.near_limit else ""
    return (
        f"+{budget.prefix}…" if budget.prefix else budget.country or "other countries",
        f"{budget.segments:,}",
        f"{state.used:,}",
        f"{state.remaining:,}",
        f"{pb.BudgetPeriod.Name(budget.period).removeprefix('BUDGET_PERIOD_').lower()} in {budget.time_zone}",
        views.moment(state.period_end),
        "stop" if budget.stops_critical else "go on",
        ", ".join(part for part in ("shadow" if budget.shadow else "", near) if part),
    )
