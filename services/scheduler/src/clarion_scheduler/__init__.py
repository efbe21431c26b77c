"""The clock: due sends and retries, the pump, the reconciler."""
