"""The dispatcher of the channel sms."""

from clarion_dispatcher_sms.app import build
from clarion_dispatcher_sms.settings import Settings
from clarion_kit import daemon


def main() -> None:
    daemon.main("dispatcher_sms", Settings, build)


if __name__ == "__main__":
    main()
