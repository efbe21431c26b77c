"""Traces, metrics and logs; every daemon owns its providers, nothing is global."""
