"""Locale, time zone and country: each function gives the normal form of a value or raises `Malformed`.

Zones and countries come from the pinned `tzdata` wheel, so that every replica knows the same ones whatever its machine.
"""

import re
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from clarion_preference.malformed import Malformed

_LOCALE = re.compile(
    r"(?P<language>[a-z]{2,3}(-[a-z]{3}){0,3}|[a-z]{4,8})"
    r"(-(?P<script>[a-z]{4}))?"
    r"(-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<rest>(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?)",
    re.IGNORECASE | re.ASCII,
)
_MAX_LOCALE = 35
"""RFC 5646 §4.4.1: a buffer of 35 characters holds every tag without extensions."""

_NOT_A_PLACE = frozenset({"Factory"})


def locale(tag: str) -> str:
    """A well-formed language tag (BCP 47: RFC 5646 §2.1) in its conventional case, e.g. "zh-Hant-TW"."""
    matched = _LOCALE.fullmatch(tag) if len(tag) <= _MAX_LOCALE else None
    if matched is None:
        raise Malformed('must be a BCP 47 language tag, e.g. "ko-KR"')
    script, region = matched["script"], matched["region"]
    return (
        matched["language"].lower()
        + (f"-{script.title()}" if script else "")
        + (f"-{region.upper()}" if region else "")
        + matched["rest"].lower()
    )


def time_zone(name: str) -> str:
    """A zone of the IANA database, spelt as there."""
    if name not in _zones():
        raise Malformed('must be an IANA time zone, e.g. "Asia/Seoul"')
    return name


def country(code: str) -> str:
    """An assigned ISO 3166-1 alpha-2 code in upper case."""
    if not code.isascii() or code.upper() not in _countries():
        raise Malformed('must be an ISO 3166-1 alpha-2 code, e.g. "KR"')
    return code.upper()


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The rules of a zone, from the same wheel. One that the wheel does not have (any more) counts as UTC."""
    if name not in _zones():
        return zone("UTC")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text().split()) - _NOT_A_PLACE


@cache
def _countries() -> frozenset[str]:
    lines = files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text().splitlines()
    return frozenset(line.split("\t")[0] for line in lines if not line.startswith("#"))
