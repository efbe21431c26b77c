"""Hands iOS deliveries to APNs."""
