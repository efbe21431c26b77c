"""What developers are told of an incident: one text for people, the same in fields for machines. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Status(StrEnum):
    """Where an incident stands for whoever is told."""

    ALERT = "alert"
    REMINDER = "reminder"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about an incident for one sink. `since` names the episode; `app` and `lane` are names, "" for none;
    `runbook` is the URL of its page, "" where none is set."""

    sink: str
    status: Status
    key: str
    kind: str
    what: str
    value: float
    limit: float
    unit: str
    since: datetime
    resolved_at: datetime | None = None
    app: str = ""
    lane: str = ""
    tries: int = 1
    runbook: str = ""


def headline(notice: Notice) -> str:
    """One line without line breaks."""
    return f"[{notice.status}] {notice.what}"


def text(notice: Notice) -> str:
    """What, since when, value, limit, app, lane, runbook."""
    facts = [f"value {amount(notice.value, notice.unit)}", f"limit {amount(notice.limit, notice.unit)}"]
    facts += [f"{name} {value}" for name, value in (("app", notice.app), ("lane", notice.lane)) if value]
    lines = [headline(notice), f"since {_moment(notice.since)}", ", ".join(facts)]
    if notice.resolved_at is not None:
        lines[1] += f", over since {_moment(notice.resolved_at)}"
    if notice.runbook:
        lines.append(notice.runbook)
    return "\n".join(lines)


def fields(notice: Notice) -> dict[str, str | float | None]:
    """The same for machines; times are RFC 3339 in UTC."""
    return {
        "incident": notice.key,
        "status": notice.status.value,
        "kind": notice.kind,
        "what": notice.what,
        "value": notice.value,
        "limit": notice.limit,
        "unit": notice.unit,
        "since": notice.since.astimezone(UTC).isoformat(),
        "resolved_at": None if notice.resolved_at is None else notice.resolved_at.astimezone(UTC).isoformat(),
        "app": notice.app,
        "lane": notice.lane,
        "runbook": notice.runbook,
    }


def amount(value: float, unit: str) -> str:
    """A figure with its unit: "312", "73.2 s"."""
    return f"{round(value, 1):g} {unit}".rstrip() if abs(value) < 1e6 else f"{value:.0f} {unit}".rstrip()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
