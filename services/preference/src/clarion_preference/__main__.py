"""The preference daemon's process."""

from clarion_kit import daemon
from clarion_preference.app import build
from clarion_preference.settings import Settings


def main() -> None:
    daemon.main("preference", Settings, build)


if __name__ == "__main__":
    main()
