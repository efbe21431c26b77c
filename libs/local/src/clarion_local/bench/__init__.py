"""The benchmark: the real mesh under load on this machine, measured from outside (method: tests/load/README.md)."""
