"""`python -m clarion_rate_limiter`: the rate limiter's process."""

from clarion_kit import daemon
from clarion_rate_limiter.app import build
from clarion_rate_limiter.settings import Settings


def main() -> None:
    """Serve until SIGTERM."""
    daemon.main("rate_limiter", Settings, build)


if __name__ == "__main__":
    main()
