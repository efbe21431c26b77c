"""gRPC edges of the gateway: contract ↔ rules."""
