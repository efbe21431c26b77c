"""gRPC edges: one server builder, one interceptor, one way to call a peer."""
