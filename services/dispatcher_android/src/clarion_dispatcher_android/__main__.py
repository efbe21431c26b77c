"""The dispatcher of the channel android."""

from clarion_dispatcher_android.app import build
from clarion_dispatcher_android.settings import Settings
from clarion_kit import daemon


def main() -> None:
    daemon.main("dispatcher_android", Settings, build)


if __name__ == "__main__":
    main()
