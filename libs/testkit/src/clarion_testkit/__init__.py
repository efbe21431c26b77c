"""Fixtures and tools for tests: real servers, fault proxy, crash points, span assertions."""
