"""Countries and time zones of the pinned `tzdata` wheel: every replica knows the same ones, whatever its machine."""

from functools import cache
from importlib.resources import files


@cache
def countries() -> frozenset[str]:
    """Assigned ISO 3166-1 alpha-2 codes, upper case."""
    lines = files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text().splitlines()
    return frozenset(line.split("\t")[0] for line in lines if not line.startswith("#"))


@cache
def time_zones() -> frozenset[str]:
    """Zones of the IANA database, as they are spelt there."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}
