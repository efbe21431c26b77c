"""The scheduler."""

from clarion_kit import daemon
from clarion_scheduler.app import build
from clarion_scheduler.settings import Settings


def main() -> None:
    daemon.main("scheduler", Settings, build)


if __name__ == "__main__":
    main()
