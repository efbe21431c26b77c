"""The dispatcher of the channel ios."""

from clarion_dispatcher_ios.app import build
from clarion_dispatcher_ios.settings import Settings
from clarion_kit import daemon


def main() -> None:
    daemon.main("dispatcher_ios", Settings, build)


if __name__ == "__main__":
    main()
