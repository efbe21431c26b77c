"""`python -m clarion_template`: the template service's process."""

from clarion_kit import daemon
from clarion_template.app import build
from clarion_template.settings import Settings


def main() -> None:
    """Serve until SIGTERM."""
    daemon.main("template", Settings, build)


if __name__ == "__main__":
    main()
