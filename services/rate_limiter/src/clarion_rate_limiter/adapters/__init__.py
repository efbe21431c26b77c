"""What the service stands on: Valkey."""
