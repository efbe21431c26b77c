"""Shows a report to a person."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from clarion.notification.v1.notification_service_pb2 import GetResponse
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Reason
from clarion_local.demo.report import Report, Spread, first_try_seconds, funnels, spread

ACCOUNT_PREFIX = "sandbox-"
_ORDER = (
    DeliveryState.SUPPRESSED,
    DeliveryState.SENT,
    DeliveryState.FAILED,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
    DeliveryState.DEAD_LETTERED,
)


def funnel(console: Console, report: Report) -> None:
    """What became of the deliveries of each channel, and why."""
    found = list(funnels(report.deliveries).items())
    each = [one for _, one in found]
    table = Table(title=f"{report.audit.accepted} notifications became {len(report.deliveries)} deliveries")
    table.add_column("")
    for channel, _ in found:
        table.add_column(channel.slug, justify="right")
    table.add_column("all", justify="right")
    _counts(table, "deliveries", [one.deliveries for one in each], "bold")
    for state in _ORDER:
        _counts(table, _words(state), [one.states.get(state, 0) for one in each], "bold")
        for reason in sorted({reason for one in each for at, reason in one.reasons if at is state}):
            _counts(table, f"  {_words(reason)}", [one.reasons.get((state, reason), 0) for one in each], "dim")
        if state is DeliveryState.SENT:
            _counts(table, "  delivered (receipt or opened)", [one.arrived for one in each])
            _counts(table, "  undelivered (receipt)", [one.undelivered for one in each])
            _counts(table, "  seen", [one.seen for one in each])
    console.print(table)


def scenes(console: Console, report: Report) -> None:
    """What each scene came to, in a sentence."""
    table = Table(title="What happened to single people", show_header=False)
    for scene in report.scenes:
        table.add_row("[red]✗[/]" if scene.fault else "[green]✓[/]", scene.name.replace("_", " "), scene.line)
    console.print(table)


def latencies(console: Console, report: Report, call_seconds: Sequence[float]) -> None:
    """Percentiles in milliseconds."""
    table = Table(title="Latency in ms; deliveries: of first attempts")
    table.add_column("")
    for heading in ("count", "p50", "p95", "p99"):
        table.add_column(heading, justify="right")
    _latency(table, "Send until OK, unary", spread(call_seconds))
    for priority, seconds in first_try_seconds(report.deliveries).items():
        _latency(table, f"accepted to sent, {priority.slug}", spread(seconds))
    console.print(table)


def timeline(console: Console, shown: GetResponse) -> None:
    """Everything that happened to one notification."""
    view = shown.notification
    began = view.accepted_at.ToDatetime(tzinfo=UTC)
    channels = {delivery.delivery_id: Channel(delivery.channel).slug for delivery in shown.deliveries}
    table = Table(title=f"Notification {view.notification_id}", caption=f"trace {view.trace_id}")
    table.add_column("ms", justify="right")
    for heading in ("event", "channel", "state", "provider", "attempt", "code or reason"):
        table.add_column(heading)
    for entry in shown.timeline:
        table.add_row(
            _milliseconds(entry.at.ToDatetime(tzinfo=UTC), began),
            EventKind(entry.kind).name.lower(),
            channels.get(entry.delivery_id, ""),
            DeliveryState(entry.state).name.lower() if entry.state else "",
            entry.provider.removeprefix(ACCOUNT_PREFIX),
            str(entry.attempt or ""),
            entry.code or (Reason(entry.reason).name.lower() if entry.reason else ""),
        )
    console.print(table)


def memory(console: Console, sizes: Mapping[str, int]) -> None:
    """PSS of the daemons; nothing where they are not processes of their own."""
    if not sizes:
        return
    table = Table(title="Memory (PSS), MiB")
    table.add_column("daemon")
    table.add_column("", justify="right")
    for name, size in sizes.items():
        table.add_row(name, f"{size / 2**20:.1f}")
    table.add_section()
    table.add_row("all daemons", f"{sum(sizes.values()) / 2**20:.1f}")
    console.print(table)


def checks(console: Console, report: Report, taken: int) -> None:
    """The audit, the comparison with the sandbox, and what follows from them."""
    audit, mismatch = report.audit, report.mismatch
    console.print(
        f"Audit: {audit.accepted} accepted, {audit.deliveries} deliveries, {audit.in_flight} in flight, "
        f"{audit.unaccounted} contradictions{f' {audit.findings}' if audit.findings else ''}"
    )
    sent = sum(delivery.state is DeliveryState.SENT for delivery in report.deliveries)
    console.print(
        f"Providers: {sent} deliveries called sent, {taken} messages taken by the sandbox; missing "
        f"{len(mismatch.missing)}, shared {len(mismatch.shared)}, doubled {len(mismatch.doubled)}, foreign "
        f"{len(mismatch.foreign)}"
    )
    for what, found in (("missing", mismatch.missing), ("shared", mismatch.shared)):
        for delivery_id in found[:3]:
            console.print(f"  {what}: delivery {delivery_id}")
    for what, numbers in (("doubled", mismatch.doubled), ("foreign", mismatch.foreign)):
        for n in numbers[:3]:
            console.print(f"  {what}: message {n} of the sandbox")
    for fault in report.faults:
        console.print(f"[bold red]Not as it should be:[/] {fault}")
    if not report.faults:
        console.print("[bold green]Every accepted notification is accounted for, here and at the providers.[/]")


def _counts(table: Table, name: str, counts: Sequence[int], style: str = "") -> None:
    """A row, unless there is nothing in it."""
    if any(counts):
        table.add_row(name, *(str(count) if count else "·" for count in counts), str(sum(counts)), style=style)


def _words(name: DeliveryState | Reason) -> str:
    return name.name.lower().replace("_", " ")


def _latency(table: Table, what: str, found: Spread | None) -> None:
    if found is None:
        return
    table.add_row(what, str(found.count), *(f"{value * 1000:.1f}" for value in (found.p50, found.p95, found.p99)))


def _milliseconds(at: datetime, began: datetime) -> str:
    return f"{(at - began).total_seconds() * 1000:.1f}"
