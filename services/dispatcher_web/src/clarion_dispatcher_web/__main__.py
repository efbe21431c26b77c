"""The dispatcher of the channel web."""

from clarion_dispatcher_web.app import build
from clarion_dispatcher_web.settings import Settings
from clarion_kit import daemon


def main() -> None:
    daemon.main("dispatcher_web", Settings, build)


if __name__ == "__main__":
    main()
