"""`clarion stats`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Group, RenderableType
from rich.text import Text

from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion_client.calls.tracking import Bucket, Dimension
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.options import AGO, ChannelName
from clarion_local.cli.output import table, to_json

COLUMNS = (
    "accepted",
    "planned",
    "in flight",
    "sent",
    "not sent",
    "delivered",
    "opened",
    "clicked",
    "converted",
    "unsubscribed",
)
_ALL = "everything"


class DimensionName(StrEnum):
    """Dimensions as they are typed."""

    APP = "app"
    CATEGORY = "category"
    TEMPLATE = "template"
    TEMPLATE_VERSION = "template-version"
    CHANNEL = "channel"
    PROVIDER = "provider"
    COUNTRY = "country"


class BucketName(StrEnum):
    """Time buckets as they are typed."""

    HOUR = "hour"
    DAY = "day"


_Names = list[str] | None


@connected(Identity.APP)
def stats(
    session: Session,
    since: Annotated[
        datetime | None, typer.Option(parser=AGO, metavar="AGO|TIME", help="From when on; default 24h.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=AGO, metavar="AGO|TIME", help="Up to when; default now.")
    ] = None,
    by: Annotated[list[DimensionName] | None, typer.Option(help="A row for each; several in order.")] = None,
    bucket: Annotated[BucketName | None, typer.Option(help="Rows by hour or UTC day.")] = None,
    app_name: Annotated[_Names, typer.Option("--of", metavar="APP", help="Other apps, '*': all; needs admin.")] = None,
    category: Annotated[_Names, typer.Option(metavar="NAME", help="Only this category.")] = None,
    template: Annotated[_Names, typer.Option(metavar="NAME", help="Only this template, '-': none.")] = None,
    template_version: Annotated[list[int] | None, typer.Option(min=0, metavar="N", help="Only this version.")] = None,
    channel: Annotated[list[ChannelName] | None, typer.Option(help="Only this channel.")] = None,
    provider: Annotated[_Names, typer.Option(metavar="NAME", help="Only this provider account.")] = None,
    country: Annotated[_Names, typer.Option(metavar="CODE", help="Only this country, '-': not known.")] = None,
    reasons: Annotated[bool, typer.Option("--reasons", help="Also why deliveries were not sent.")] = False,
) -> None:
    """Count what became of notifications: the funnel and its rates.

    Counts follow what happens by a second or two; "as of" says up to when they are complete.
    """
    dimensions = [Dimension[name.name] for name in by or ()]
    answer = session.client.tracking.stats(
        since=since,
        until=until,
        group_by=dimensions,
        bucket=None if bucket is None else Bucket[bucket.name],
        apps=app_name or (),
        categories=category or (),
        templates=template or (),
        template_versions=template_version or (),
        channels=[name.channel for name in channel or ()],
        providers=provider or (),
        countries=country or (),
    )
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(_view(answer, dimensions, bucket, reasons=reasons))


def _view(
    answer: pb.StatsResponse, dimensions: list[Dimension], bucket: BucketName | None, *, reasons: bool
) -> RenderableType:
    named = [
        *(["from (UTC)"] if bucket else []),
        *(dimension.name.lower().replace("_", " ") for dimension in dimensions),
    ]
    named = named or [""]
    labelled = [(_labels(row, dimensions, bucket), row) for row in answer.rows]
    window = f"{views.moment(answer.since)} to {views.moment(answer.until)}, as of {views.moment(answer.as_of)}"
    parts: list[RenderableType] = [
        Text(window),
        table("", (*named, *COLUMNS), [(*labels, *_counts(row)) for labels, row in labelled]),
    ]
    if reasons:
        why = [
            (*labels, views.delivery_state(one.state), views.reason(one.reason), f"{one.count:,}")
            for labels, row in labelled
            for one in sorted(row.reasons, key=lambda one: -one.count)
        ]
        parts.append(table("not sent", (*named, "state", "reason", "deliveries"), why))
    return Group(*parts)


def _labels(row: pb.StatsRow, dimensions: list[Dimension], bucket: BucketName | None) -> list[str]:
    found = [_start(row.start, bucket)] if bucket else []
    for dimension in dimensions:
        found.append(
            {
                Dimension.APP: row.app,
                Dimension.CATEGORY: row.category,
                Dimension.TEMPLATE: row.template,
                Dimension.TEMPLATE_VERSION: str(row.template_version or ""),
                Dimension.CHANNEL: views.channel(row.channel) if row.channel else "",
                Dimension.PROVIDER: row.provider,
                Dimension.COUNTRY: row.country,
            }[dimension]
            or "-"
        )
    return found or [_ALL]


def _start(start: Timestamp, bucket: BucketName) -> str:
    text = start.ToJsonString()
    return text[:10] if bucket is BucketName.DAY else f"{text[:10]} {text[11:16]}"


def _counts(row: pb.StatsRow) -> list[str]:
    counts, rates = row.counts, row.rates
    unsent = counts.failed + counts.suppressed + counts.expired + counts.cancelled + counts.dead_lettered

    def share(count: int, rate: str) -> str:
        known = rates.HasField(rate)  # type: ignore[arg-type]  # one of its fields, by name
        return f"{count:,} ({getattr(rates, rate):.1%})" if known and count else f"{count:,}"

    return [
        f"{counts.accepted:,}",
        f"{counts.planned:,}",
        f"{counts.in_flight:,}",
        share(counts.sent, "sent"),
        f"{unsent:,}",
        share(counts.delivered, "delivered"),
        share(counts.opened, "opened"),
        share(counts.clicked, "clicked"),
        share(counts.converted, "converted"),
        share(counts.unsubscribed, "unsubscribed"),
    ]
