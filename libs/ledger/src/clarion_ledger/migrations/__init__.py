"""The one numbered history of the database; each step's SQL lives with the member that owns its schema."""
