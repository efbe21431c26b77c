"""Unmounts a filesystem when the process that mounted it is gone, however it went.

Runs as a script under ``python -I -S``: its standard input is a pipe whose other end only that process holds.
"""

import os
import subprocess
import sys


def main(arguments: list[str]) -> None:
    """``unmounter.py UMOUNT PLACE``; returns when the pipe ends and nothing is mounted on the place."""
    umount, place = arguments
    sys.stdin.buffer.read()
    if os.path.ismount(place):
        # Whoever still stands there may finish; the name and, with the last of them, the loop device go.
        subprocess.run([umount, "--lazy", place], timeout=30, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
