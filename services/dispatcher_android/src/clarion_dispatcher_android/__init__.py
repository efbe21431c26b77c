"""Hands Android deliveries to their push services."""
