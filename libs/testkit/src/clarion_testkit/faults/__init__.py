"""Faults on demand: networks that fail, servers that freeze or die, disks that fill up or lose their power."""
