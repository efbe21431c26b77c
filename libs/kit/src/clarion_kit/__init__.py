"""What every daemon is made of: life cycle, RPC, bus, telemetry, settings, errors, clock."""
