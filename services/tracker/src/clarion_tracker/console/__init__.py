"""The operators' read-only page: what is going on, and where one notification is."""
