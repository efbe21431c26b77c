"""Caps and rates in Valkey."""
