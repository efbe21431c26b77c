"""The shop's recipients, as they ship: `recipients.ndjson.gz`, one recipient a line.

A line is the JSON form of `clarion.recipient.v1.Recipient` with the contract's field names. One address is no contract
form: `{"web_seed": "…"}` names a browser of the sandbox. A push subscription is bound to the application's VAPID key
and to the push service's URL, which are known only once a sandbox runs; `recipients` resolves it.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files

from google.protobuf import json_format

from clarion.recipient.v1.recipient_service_pb2 import Recipient
from clarion_client import JsonValue
from clarion_sandbox import browser

FILE_NAME = "recipients.ndjson.gz"
WEB_SEED = "web_seed"

ResolveWeb = Callable[[str], dict[str, JsonValue]]
"""From a seed to the fields of a `clarion.types.v1.WebSubscription`."""


def shipped_lines() -> list[str]:
    """The lines of the shipped file."""
    return gzip.decompress(files(__name__).joinpath(FILE_NAME).read_bytes()).decode().splitlines()


def recipients(lines: Iterable[str], resolve_web: ResolveWeb) -> Iterator[Recipient]:
    """A recipient for each line. Raises ValueError for a line that is none, by its number."""
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line)
            document["addresses"] = [_resolved(address, resolve_web) for address in document.get("addresses", [])]
            yield json_format.ParseDict(document, Recipient())
        except (ValueError, TypeError, AttributeError, json_format.ParseError) as error:
            raise ValueError(f"line {number}: {error}") from error


def sandbox_browsers(vapid_public_key: str, sandbox_url: str) -> ResolveWeb:
    """Resolves seeds to the browsers of the sandbox at `sandbox_url`, subscribed with this VAPID key (base64url)."""

    def resolve(seed: str) -> dict[str, JsonValue]:
        made = browser.subscription(vapid_public_key, seed)
        return {"endpoint": sandbox_url + made.endpoint_path, "p256dh": made.p256dh, "auth": made.auth}

    return resolve


def _resolved(address: dict[str, JsonValue], resolve_web: ResolveWeb) -> dict[str, JsonValue]:
    seed = address.get(WEB_SEED)
    return {"web": resolve_web(seed)} if isinstance(seed, str) else address
