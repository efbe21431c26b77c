"""The whole stack on one machine, and the clarion command."""
