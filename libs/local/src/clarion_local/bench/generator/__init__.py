"""The load generator: a process of its own, so that what it costs is not charged to what it measures."""
