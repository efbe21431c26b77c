"""The licence of each package, as an SPDX expression, and which of them an image may hold."""

from collections.abc import Iterable
from importlib.metadata import metadata

from license_expression import AND, OR, LicenseSymbol, Licensing

from .locked import Locked

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CNRI-Python",
    "ISC",
    "MIT",
    "MIT-0",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
"""In every image: asks for no more than to be named."""
ALLOWED_FOR = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
"""Used unchanged, as a library that may be exchanged, and by migrations alone."""
NAMED_BY_HAND = {
    "cronsim": "BSD-3-Clause",
    "minijinja": "Apache-2.0",
    "mrml": "MIT",
    "pyasn1-modules": "BSD-2-Clause",
    "pyreqwest": "Apache-2.0",
    "uvloop": "MIT OR Apache-2.0",
}
"""Read in the files of packages whose metadata say nothing, or not enough."""
_NAMES = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "isc license": "ISC",
    "mit license": "MIT",
}
"""What people write instead of an SPDX identifier."""
_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: The Unlicense (Unlicense)": "Unlicense",
}
"""Those that mean one licence; "BSD License" does not."""
_KNOWN = ALLOWED | set(ALLOWED_FOR.values())


class UnknownLicence(Exception):
    """The metadata of a package do not say which licence it has."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: its metadata name no licence that is known; read it and put it into NAMED_BY_HAND")


def licence_of(name: str) -> str:
    """Of an installed package. Raises UnknownLicence."""
    if name in NAMED_BY_HAND:
        return NAMED_BY_HAND[name]
    told = metadata(name)
    if expression := told["License-Expression"]:
        return str(expression)
    free = (told["License"] or "").strip()
    if free in _KNOWN:
        return str(free)
    if free.lower() in _NAMES:
        return _NAMES[free.lower()]
    classified = {_CLASSIFIERS[line] for line in told.get_all("Classifier") or [] if line in _CLASSIFIERS}
    if len(classified) == 1:
        return classified.pop()
    raise UnknownLicence(name)


def allowed(name: str, expression: str) -> bool:
    """Whether an image may hold a package of this licence."""
    return ALLOWED_FOR.get(name) == expression or _holds(Licensing().parse(expression))


def table(packages: Iterable[Locked]) -> str:
    """Name, version and licence, one package a line. Raises UnknownLicence."""
    rows = [(one.name, one.version, licence_of(one.name)) for one in packages]
    return "".join(f"{name:<44} {version:<14} {licence}\n" for name, version, licence in rows)


def _holds(term: object) -> bool:
    match term:
        case AND(args=parts):
            return all(_holds(part) for part in parts)
        case OR(args=parts):
            return any(_holds(part) for part in parts)
        case LicenseSymbol(key=key):
            return key in ALLOWED
    return False
