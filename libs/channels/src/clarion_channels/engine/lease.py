"""How long a claimed delivery is ours, and what that leaves for a call."""

from datetime import timedelta

LEASE = timedelta(seconds=90)
LEASE_MARGIN = timedelta(seconds=5)
"""What must be left of a lease after a call's timeout, for its outcome to be recorded."""
LONGEST_TIMEOUT = timedelta(seconds=60)
"""A provider that may take longer gets no lane: its deliveries would hardly ever have enough of their lease left."""
