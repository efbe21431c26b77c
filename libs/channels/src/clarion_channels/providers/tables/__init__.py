"""Error tables of the built-in providers, one TOML file each, read by `clarion_channels.errortable`."""
