"""Hands browser deliveries to their push services."""
