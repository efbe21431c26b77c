"""What a run found, as one document, and the line that sums it up. Pure but for reading what the machine is."""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

SUMMARY: Mapping[str, tuple[str, ...]] = {
    "e2e_per_s": ("throughput", "at_once", "sent_per_s"),
    "accept_batch_per_s": ("stages", "accept", "batch", "per_s"),
    "accept_unary_per_s": ("stages", "accept", "unary", "per_s"),
    "p99_ms_at_1850": ("latency", "at_once", "1850", "to_provider", "p99_ms"),
    "send_p99_ms_at_1850": ("latency", "at_once", "1850", "send", "p99_ms"),
    "urgent_p99_ms_in_flood": ("urgent", "urgent_to_provider", "p99_ms"),
    "cpu_us_per_notification": ("throughput", "at_once", "cost", "cpu_us_total"),
    "growth_ratio_10m": ("growth", "ratio"),
}
"""Key of the last line → where its value stands among the sections. A section that did not run gives null."""

RATIOS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "end to end": (("throughput", "at_once", "sent_per_s"), "limit_per_s"),
    "accept by `SendBatch`": (("stages", "accept", "batch", "per_s"), "copy_per_s"),
    "plan": (("stages", "plan", "planned_per_s"), "copy_per_s"),
    "dispatch, apns": (("stages", "dispatch", "apns", "sent_per_s"), "push_per_s"),
    "dispatch, fcm": (("stages", "dispatch", "fcm", "sent_per_s"), "push_per_s"),
    "dispatch, webpush": (("stages", "dispatch", "webpush", "sent_per_s"), "push_per_s"),
    "dispatch, smtp": (("stages", "dispatch", "smtp", "sent_per_s"), "mail_per_s"),
}
"""Where a rate of ours stands, and the part of the yardstick that it is a share of."""


@dataclass(slots=True)
class Results:
    """A run. `whole`: every section was wanted; `proofs`: what closed each stretch; `broken`: sections that broke off, and
    why."""

    name: str
    began: datetime
    machine: dict[str, object]
    whole: bool = False
    sections: dict[str, dict[str, object]] = field(default_factory=dict)
    proofs: dict[str, dict[str, object]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def unaccounted(self) -> int:
        return sum(_whole(proof.get("unaccounted")) for proof in self.proofs.values())

    @property
    def mismatch(self) -> int:
        return sum(_whole(proof.get("provider_mismatch")) for proof in self.proofs.values())

    def faults(self) -> Iterator[str]:
        """What makes the run one that proves nothing; figures that are too low are none."""
        yield from (f"{name} broke off: {why}" for name, why in self.broken.items())
        if self.whole:
            yield from (f"no figure for {key}" for key, value in self.summary().items() if value is None)
        if self.unaccounted:
            yield f"{self.unaccounted} are unaccounted for"
        if self.mismatch:
            yield f"{self.mismatch} differ from the providers' own ledger"

    def summary(self) -> dict[str, float | int | None]:
        """The last line."""
        values: dict[str, float | int | None] = {key: number_at(self.sections, path) for key, path in SUMMARY.items()}
        sizes = [size for sizes in _memory(self.sections).values() for size in sizes]
        values["max_pss_mb"] = max(sizes, default=None)
        values["ready_seconds"] = number_at(self.sections, ("start", "ready_seconds"))
        values["unaccounted"] = self.unaccounted
        return values

    def ratios(self) -> dict[str, float]:
        """Our rates as shares of the machine's limits, where both were measured."""
        found: dict[str, float] = {}
        for name, (path, part) in RATIOS.items():
            ours, limit = number_at(self.sections, path), number_at(self.sections, ("yardstick", part))
            if ours and limit:
                found[name] = round(ours / limit, 3)
        return found

    def document(self) -> dict[str, object]:
        """Everything, as it is written down."""
        began = self.began.isoformat(timespec="seconds")
        return {**asdict(self), "began": began, "summary": self.summary(), "ratios": self.ratios()}

    def write(self, path: Path) -> None:
        """Raises OSError."""
        path.write_text(json.dumps(self.document(), indent=1) + "\n")


def number_at(document: object, path: tuple[str, ...]) -> float | int | None:
    """The number at a path of keys; None where there is none."""
    for key in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document if isinstance(document, int | float) and not isinstance(document, bool) else None


def machine() -> dict[str, object]:
    """What the run was made on."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(int(memory) / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _memory(sections: Mapping[str, object]) -> dict[str, list[float]]:
    """Every series of memory that a section has, by section and daemon."""
    found: dict[str, list[float]] = {}

    def look(name: str, value: object) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key == "pss_mb" and isinstance(inner, Mapping):
                    found.update({f"{name}.{daemon}": list(series) for daemon, series in inner.items()})
                else:
                    look(f"{name}.{key}", inner)

    look("", sections)
    return found


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
