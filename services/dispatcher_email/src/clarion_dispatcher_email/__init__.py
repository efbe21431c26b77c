"""Hands mail to its submission servers."""
