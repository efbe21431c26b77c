"""What mail providers need of the ledger."""
