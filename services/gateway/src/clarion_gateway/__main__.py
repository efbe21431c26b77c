"""The gateway."""

from clarion_gateway.app import build
from clarion_gateway.settings import Settings
from clarion_kit import daemon


def main() -> None:
    daemon.main("gateway", Settings, build)


if __name__ == "__main__":
    main()
