"""The processes of a mesh, several of each daemon if wanted: where each listens, what it is started with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clarion_kit import mesh
from clarion_local.ports import LOOPBACK, free_ports


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of a daemon; it keeps its ports over restarts.

    `name` is "planner/2" where there are several, else "planner". `env` is its whole environment. `http_port` and
    `bounce_port` (SMTP) are 0 for daemons that serve none.
    """

    name: str
    daemon: str
    grpc_port: int
    metrics_port: int
    http_port: int
    bounce_port: int
    log: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def listen(self) -> str:
        """host:port of its gRPC server."""
        return f"{LOOPBACK}:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://{LOOPBACK}:{self.metrics_port}/metrics"

    @property
    def http_url(self) -> str:
        return f"https://{LOOPBACK}:{self.http_port}"

    @property
    def bounce_url(self) -> str:
        """Where mail servers bring bounces."""
        return f"smtp://{LOOPBACK}:{self.bounce_port}"


def counts(replicas: int | Mapping[str, int]) -> dict[str, int]:
    """Processes of each daemon; those a mapping does not name have one. Raises ValueError for less, KeyError for what
    is no daemon."""
    wanted = dict.fromkeys(mesh.DAEMONS, 1)
    if isinstance(replicas, int):
        wanted = dict.fromkeys(wanted, replicas)
    else:
        for daemon, count in replicas.items():
            if daemon not in wanted:
                raise KeyError(daemon)
            wanted[daemon] = count
    if min(wanted.values()) < 1:
        raise ValueError("every daemon needs a replica")
    return wanted


def arrange(replicas: int | Mapping[str, int], log_folder: Path) -> list[Replica]:
    """A place for every process, daemon by daemon; none of them has an environment yet. Raises as `counts` does."""
    numbered = list(_numbered(counts(replicas)))
    ports = iter(free_ports(4 * len(numbered)))
    return [
        Replica(
            name=f"{daemon}/{number}" if number else daemon,
            daemon=daemon,
            grpc_port=next(ports),
            metrics_port=next(ports),
            http_port=next(ports) if daemon == "tracker" else 0,
            bounce_port=next(ports) if daemon == "tracker" else 0,
            log=log_folder / (f"{daemon}-{number}.log" if number else f"{daemon}.log"),
        )
        for daemon, number in numbered
    ]


def target(replicas: Sequence[Replica]) -> str:
    """The gRPC target that stands for all of them (https://github.com/grpc/grpc/blob/master/doc/naming.md)."""
    listens = ",".join(replica.listen for replica in replicas)
    return listens if len(replicas) == 1 else f"ipv4:{listens}"


def _numbered(wanted: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for daemon, count in wanted.items():
        yield from ((daemon, number if count > 1 else 0) for number in range(1, count + 1))
