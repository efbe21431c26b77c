"""The built-in providers, one module or package each, found by the entry-point group `clarion.providers`."""
