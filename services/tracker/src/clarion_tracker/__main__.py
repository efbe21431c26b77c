"""The tracker daemon's process."""

from clarion_kit import daemon
from clarion_tracker.app import build
from clarion_tracker.settings import Settings


def main() -> None:
    daemon.main("tracker", Settings, build)


if __name__ == "__main__":
    main()
