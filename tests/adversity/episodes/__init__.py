"""Faults that need servers of their own: each episode is a small world, what befalls it, and a reckoning."""

from collections.abc import Sequence

from tests.adversity.episodes import crowds, disks, failover, nodes, outages
from tests.adversity.episodes.base import Episode

IN_ORDER: Sequence[Episode] = (
    disks.PostgresPower(),
    disks.NatsPower(),
    disks.PostgresFull(),
    disks.NatsFull(),
    nodes.ThreeNodes(),
    failover.Standby(),
    failover.Backlog(),
    crowds.Crowd(),
)
"""One after the other."""
ALONGSIDE: Sequence[Episode] = (outages.RealTime(),)
"""In real time beside everything else: they wait more than they work."""
CONTROLS: Sequence[Episode] = (disks.UnsafePostgres(), disks.TrustingNats(), outages.CallerWithoutRetry())
"""Must lose."""
