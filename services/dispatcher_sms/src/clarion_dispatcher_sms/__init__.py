"""Hands text messages to their carriers."""
