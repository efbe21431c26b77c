"""What a call of `POST /v1/events` may hold, read and checked. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from clarion_tracker.activity import Kind

MAX_EVENTS = 100
KINDS: Mapping[str, Kind] = {
    "received": Kind.RECEIVED,
    "opened": Kind.PUSH_OPENED,
    "clicked": Kind.PUSH_CLICKED,
    "closed": Kind.CLOSED,
    "read": Kind.READ,
    "converted": Kind.CONVERTED,
}


class TooWrong(ValueError):
    """The body is not what it may be; the text names the place and holds nothing of what stood there."""


class Told(BaseModel):
    """One event as it came. Fields that a later version knows are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    token: Annotated[str, Field(max_length=128, repr=False)]
    """From the push (`clarion_event_token`)."""
    id: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
    """The app's own; an event that comes again under it counts once."""
    type: Literal["received", "opened", "clicked", "closed", "read", "converted"]
    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,64}$")] = ""
    """Of a conversion, e.g. "purchase"."""
    value: Annotated[Decimal, Field(max_digits=18, decimal_places=6, allow_inf_nan=False)] | None = None
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""


class _Call(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    events: Annotated[tuple[Told, ...], Field(min_length=1, max_length=MAX_EVENTS)]


_CALL = TypeAdapter(_Call)


def read(body: bytes) -> tuple[Told, ...]:
    """The events of a call. Raises TooWrong."""
    try:
        events = _CALL.validate_json(body).events
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "body"
        raise TooWrong(f"{place[:64]}: {first['msg'][:200]}") from None
    for position, event in enumerate(events):
        if event.type == "converted" and not event.name:
            raise TooWrong(f"events.{position}.name: required for a conversion")
        if event.type != "converted" and (event.name or event.value is not None or event.currency):
            raise TooWrong(f"events.{position}.name: only a conversion has a name, a value and a currency")
    return events
