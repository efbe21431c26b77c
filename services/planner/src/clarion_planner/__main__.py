"""The planner."""

from clarion_kit import daemon
from clarion_planner.app import build
from clarion_planner.settings import Settings


def main() -> None:
    daemon.main("planner", Settings, build)


if __name__ == "__main__":
    main()
