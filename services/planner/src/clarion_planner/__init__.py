"""Accepted notifications become deliveries."""
