"""An app that practises: an account with every provider of the sandbox, routes, and the way back for what they report."""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import Mapping

from clarion_client import AsyncClient, Channel
from clarion_local.practice import Practice, routes

_TIMEOUT_SECONDS = 10.0
_REPORTING = ("huawei", "sendgrid")
"""Providers whose requests name no callback: the sandbox is told where they post."""


async def open_accounts(operator: AsyncClient, app: str, practice: Practice, tracker_url: str) -> None:
    """Put the accounts and routes of an app, and have the sandbox report to its tracker. Idempotent; of several apps the
    last one hears of Huawei and SendGrid.

    Raises ClarionError, OSError (the sandbox does not answer).
    """
    numbers: dict[str, int] = {}
    for account in (*practice.accounts(app), *practice.others()):
        stored = await operator.providers.put(app, account.name, account.kind, account.settings)
        numbers[account.kind] = stored.provider.number
        if account.kind == "twilio":  # only now its callback's URL is known
            told = {**account.settings, "status_callback": _callback(tracker_url, "twilio", numbers)}
            await operator.providers.put(app, account.name, account.kind, told)
    for channel, wanted in routes().items():
        await operator.routes.put(app, Channel(channel), list(wanted))
    urls = {kind: _callback(tracker_url, kind, numbers) for kind in _REPORTING}
    await asyncio.to_thread(_post_callbacks_to, practice, urls)


def _callback(tracker_url: str, kind: str, numbers: Mapping[str, int]) -> str:
    return f"{tracker_url}/v1/callbacks/{kind}/{numbers[kind]}"


def _post_callbacks_to(practice: Practice, urls: Mapping[str, str]) -> None:
    request = urllib.request.Request(
        f"{practice.url}/sandbox/callbacks",
        data=json.dumps(urls).encode(),
        headers={"authorization": f"Bearer {practice.api_token}", "content-type": "application/json"},
        method="PUT",
    )
    tls = ssl.create_default_context(cafile=practice.ca_file)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=tls) as answer:
        answer.read()
