"""Versioned, localised templates."""
