"""The running replicas of a mesh, one by one: kill, freeze, stop, and start again in the same place."""

import signal
from collections.abc import Iterable, Mapping
from datetime import timedelta

from clarion_local.authority import TlsFiles
from clarion_local.daemons import Forked
from clarion_local.health import until_serving
from clarion_local.replicas import Replica

SERVING_LIMIT = timedelta(seconds=30)


class Fleet:
    """Replicas by name ("planner/2"; "planner" where there is one). Every method raises KeyError for an unknown name.

    What is ended here was asked to end; what ends by itself is a fault that `Stack.check` reports, unless it was
    started with `may_end`.
    """

    def __init__(self, replicas: Iterable[Replica], daemons: Forked, operator: TlsFiles) -> None:
        self._replicas = {replica.name: replica for replica in replicas}
        self._daemons = daemons
        self._operator = operator

    def names(self, daemon: str | None = None) -> list[str]:
        """All replicas, or those of one daemon."""
        return [name for name, replica in self._replicas.items() if daemon in (None, replica.daemon)]

    def replica(self, name: str) -> Replica:
        return self._replicas[name]

    def pid(self, name: str) -> int:
        """Of the last start."""
        return self._daemons.child(name).pid

    def running(self, name: str) -> bool:
        """Whether it has not ended; a frozen one runs."""
        return self._daemons.child(name).returncode is None

    def freeze(self, name: str) -> None:
        """Stop the process where it stands (SIGSTOP); its connections stay open and silent."""
        self._daemons.child(name).send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self._daemons.child(name).send_signal(signal.SIGCONT)

    async def kill(self, name: str) -> None:
        """End it at once (SIGKILL), frozen or not; gone when this returns."""
        self._daemons.expect_end(name)
        child = self._daemons.child(name)
        child.send_signal(signal.SIGKILL)
        await child.wait()

    async def stop(self, name: str, grace: timedelta) -> int:
        """Ask it to end (SIGTERM) and kill it after `grace`; gives its exit status, negative for a signal."""
        self._daemons.expect_end(name)
        self.thaw(name)
        return await self._daemons.child(name).stop(grace)

    async def until_ended(self, name: str) -> int:
        """Wait for its end, for example at a crash point; gives its exit status."""
        return await self._daemons.child(name).wait()

    async def start(
        self,
        name: str,
        extra: Mapping[str, str] | None = None,
        *,
        may_end: bool = False,
        serving_within: timedelta | None = SERVING_LIMIT,
    ) -> None:
        """Start an ended replica again: same ports, same environment with `extra` on top, this one time.

        Returns when it serves, at once with `serving_within` None. Raises StartFailed, RuntimeError while it runs.
        """
        if self.running(name):
            raise RuntimeError(f"{name} still runs")
        replica = self._replicas[name]
        env = {**replica.env, **(extra or {})}
        await self._daemons.spawn(name, replica.daemon, env, replica.log, may_end=may_end)
        if serving_within is not None:
            await until_serving({name: replica.listen}, self._operator, serving_within, self._daemons)
