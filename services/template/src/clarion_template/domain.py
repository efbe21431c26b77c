"""Rules of templates that need neither a source nor a database: locales, limits, what a stored version is."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

DEFAULT_LOCALE = "en"
MAX_LOCALES = 64
MAX_VALUE_BYTES = 16 << 10
MAX_DATA_BYTES = 64 << 10
LOCALE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8}){0,6}")
"""The shape of a normalised language tag (BCP 47, without grandfathered ones)."""


@dataclass(frozen=True, slots=True)
class VersionKey:
    app_id: int
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A version as it rests: `document` (a serialised clarion.template.v1.Template) is what is rendered, `source` what was written."""

    key: VersionKey
    document: bytes
    created_at: datetime
    created_by: str = ""
    source: bytes = b""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is to be stored: `sha256` names the content, `frames` maps the names of mail frames to their bytes, `source` is empty
    where it is the document."""

    app_id: int
    name: str
    document: bytes
    sha256: bytes
    variables: tuple[str, ...]
    locales: tuple[str, ...]
    frames: dict[bytes, bytes]
    source: bytes = b""
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A template at a glance; `published` 0: none."""

    name: str
    published: int
    latest: int
    locales: tuple[str, ...]
    archived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Current:
    """Versions of a template, 0 where there is none."""

    published: int = 0
    latest: int = 0
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A version at a glance; who is the id of an API key, empty where it is not recorded."""

    version: int
    created_at: datetime
    created_by: str
    locales: tuple[str, ...]
    published: bool
    published_at: datetime | None
    published_by: str


@dataclass(frozen=True, slots=True)
class Use:
    """What sends a template: a schedule by its name, or a broadcast by its id."""

    schedule: str
    broadcast_id: UUID | None
    paused: bool


def normal_locale(tag: str) -> str:
    """A language tag for comparison: lower case, dashes."""
    return tag.replace("_", "-").lower()


def fallbacks(wanted: str, default: str) -> Iterator[str]:
    """The locales to try for `wanted`, exact first, then its parents, then the default (all normalised)."""
    tag = normal_locale(wanted)
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]
    yield normal_locale(default) or DEFAULT_LOCALE


def pick_locale(wanted: str, default: str, available: Container[str]) -> str | None:
    """The best available locale (normalised), None where not even the default is there."""
    return next((locale for locale in fallbacks(wanted, default) if locale in available), None)
