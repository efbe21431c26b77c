"""Where an installed package lies, without importing it."""

import importlib.util
from pathlib import Path


def package_folder(package: str) -> Path:
    """The folder of an installed package.

    Raises FileNotFoundError when it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package.replace('_', '-')} is not installed")
    return Path(spec.origin).parent
