"""The control API under ``/sandbox/``: scripted faults, callback URLs and the ledger of what arrived."""

import hmac
import json
from typing import Annotated
from urllib.parse import parse_qs

from pydantic import Field, TypeAdapter, ValidationError

from clarion_sandbox.callback_urls import CallbackUrls
from clarion_sandbox.faults import FaultRules, FaultScript, UnknownAnswer
from clarion_sandbox.ledger import Ledger
from clarion_sandbox.view import present

from .http import Outcome, Reply, Request, json_reply

_MAX_LINES = 10_000
_CALLBACK_URLS = TypeAdapter(dict[str, Annotated[str, Field(pattern=r"^((https?|smtp)://.{1,2000})?$")]])


class Control:
    """The handler; every request needs the API token of sandbox.json."""

    def __init__(self, api_token: str, script: FaultScript, ledger: Ledger, callback_urls: CallbackUrls) -> None:
        self._bearer = f"Bearer {api_token}".encode()
        self._script = script
        self._ledger = ledger
        self._callback_urls = callback_urls

    async def __call__(self, request: Request) -> Outcome:
        """Answer one request."""
        given = (request.headers.get("authorization") or "").encode()
        if not hmac.compare_digest(given, self._bearer):
            return json_reply(401, {"error": "the API token of sandbox.json is required"})
        match request.method, request.path.removeprefix("/sandbox/").split("/"):
            case "GET", ["ledger"]:
                return self._read_ledger(request.query)
            case "GET", ["summary"]:
                return json_reply(200, self._ledger.summary())
            case "GET", ["messages", number] if number.isdecimal():
                return self._message(int(number))
            case "GET", ["faults"]:
                return json_reply(200, self._script.rules.model_dump())
            case "PUT", ["faults"]:
                return self._put_faults(request.body)
            case "DELETE", ["faults"]:
                self._script.replace(FaultRules(faults=[]))
                return Reply(204, [])
            case "GET", ["callbacks"]:
                return json_reply(200, self._callback_urls.all())
            case "PUT", ["callbacks"]:
                return self._put_callbacks(request.body)
        return json_reply(404, {"error": "no such resource"})

    def _read_ledger(self, query: str) -> Reply:
        fields = parse_qs(query, max_num_fields=10)
        after, limit = fields.get("after", ["0"])[0], fields.get("limit", ["1000"])[0]
        if not after.isdecimal() or not limit.isdecimal() or int(limit) > _MAX_LINES:
            return json_reply(400, {"error": f"after and limit are whole numbers, limit at most {_MAX_LINES}"})
        return Reply(200, [("content-type", "application/x-ndjson")], self._ledger.read(int(after), int(limit)))

    def _message(self, number: int) -> Reply:
        arrival = self._ledger.arrival(number)
        if arrival is None:
            return json_reply(404, {"error": "no such message, or no longer kept whole"})
        entry = json.loads(self._ledger.read(number - 1, 1))
        return json_reply(200, {"entry": entry, "attributes": arrival.attributes, "content": present(arrival)})

    def _put_callbacks(self, body: bytes) -> Reply:
        try:
            urls = _CALLBACK_URLS.validate_json(body)
        except ValidationError as error:
            return json_reply(400, {"error": f"not an object of URLs: {error.error_count()} faults"})
        self._callback_urls.put(urls)
        return Reply(204, [])

    def _put_faults(self, body: bytes) -> Reply:
        try:
            self._script.replace(FaultRules.model_validate_json(body))
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            return json_reply(400, {"error": "invalid script", "faults": faults})
        except UnknownAnswer as error:
            return json_reply(400, {"error": str(error)})
        return Reply(204, [])
