"""People, their addresses and devices, their wishes."""
