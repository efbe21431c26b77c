"""The SDK for threads."""
