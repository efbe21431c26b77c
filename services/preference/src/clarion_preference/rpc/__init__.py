"""The gRPC edge: proto ↔ domain."""
