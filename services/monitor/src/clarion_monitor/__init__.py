"""Queue depth and age, the audit, alerts."""
