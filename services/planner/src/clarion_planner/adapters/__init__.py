"""The other daemons, as planning sees them."""
