"""The monitor daemon's process."""

from clarion_kit import daemon
from clarion_monitor.app import build
from clarion_monitor.settings import Settings


def main() -> None:
    daemon.main("monitor", Settings, build)


if __name__ == "__main__":
    main()
