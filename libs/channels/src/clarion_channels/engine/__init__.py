"""The dispatch engine: claim → acknowledge → send → record, the same for every channel."""
