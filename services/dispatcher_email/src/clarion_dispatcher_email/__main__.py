"""The dispatcher of the channel email."""

from clarion_dispatcher_email.app import build
from clarion_dispatcher_email.settings import Settings
from clarion_kit import daemon


def main() -> None:
    daemon.main("dispatcher_email", Settings, build)


if __name__ == "__main__":
    main()
