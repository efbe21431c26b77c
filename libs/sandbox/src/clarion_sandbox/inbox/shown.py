"""What every channel's reader gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .json_value import Json


@dataclass(frozen=True, slots=True)
class Shown:
    """The words a person sees, and what else the view of the channel needs."""

    app: str = ""
    title: str = ""
    subtitle: str = ""
    body: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)
