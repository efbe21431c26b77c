"""The sandbox's script of faults, shared by faults that overlap. Blocking calls run in threads."""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import Mapping, Sequence

from clarion_client import JsonValue
from clarion_local.practice import Practice

_TIMEOUT_SECONDS = 10.0

Rule = Mapping[str, JsonValue]


class Script:
    """Rules in force, by the name of whoever put them; a later rule stands behind an earlier one."""

    def __init__(self, practice: Practice) -> None:
        self._url = practice.url
        self._headers = {"authorization": f"Bearer {practice.api_token}", "content-type": "application/json"}
        self._tls = ssl.create_default_context(cafile=practice.ca_file)
        self._rules: dict[str, Sequence[Rule]] = {}
        self._putting = asyncio.Lock()

    async def put(self, name: str, *rules: Rule) -> None:
        """Put rules in force under a name; none takes them out. Raises OSError."""
        async with self._putting:
            self._rules.pop(name, None)
            if rules:
                self._rules[name] = rules
            document = {"faults": [dict(rule) for put in self._rules.values() for rule in put]}
            await asyncio.to_thread(self._ask, "faults", json.dumps(document).encode())

    async def answers(self, provider: str) -> dict[str, int]:
        """How often a provider gave each answer so far. Raises OSError."""
        summary = json.loads(await asyncio.to_thread(self._ask, "summary", None))
        found = summary["providers"].get(provider, {})
        return {str(answer): int(count) for answer, count in found.get("answers", {}).items()}

    async def accepted(self) -> int:
        """Messages taken by all providers so far. Raises OSError."""
        summary = json.loads(await asyncio.to_thread(self._ask, "summary", None))
        return sum(int(provider["accepted"]) for provider in summary["providers"].values())

    def _ask(self, path: str, put: bytes | None) -> bytes:
        request = urllib.request.Request(
            f"{self._url}/sandbox/{path}", data=put, headers=self._headers, method="PUT" if put is not None else "GET"
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=self._tls) as answer:
            body: bytes = answer.read()
        return body
