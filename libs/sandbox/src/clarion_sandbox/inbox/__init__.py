"""The inbox page: what arrived, as the people it was sent to would see it."""
