"""What the service stands on: Postgres and the guarded child process."""
