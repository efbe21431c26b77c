"""A preference page on a whole mesh: the app asks for a link, its owner opens it, what they save holds and is logged."""

import asyncio
import ssl
import urllib.request
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest

from clarion.recipient.v1.recipient_service_pb2 import WISH_CHANGE_WAY_PAGE
from clarion_local.stack import Stack
from clarion_testkit.shop import open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_is_saved_on_the_page_holds(stack: Stack) -> None:
    tls = ssl.create_default_context(cafile=stack.endpoints.ca_file)

    def fetch(url: str, form: list[tuple[str, str]] | None = None) -> str:
        body = None if form is None else urlencode(form).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=10, context=tls) as answer:
            text: str = answer.read().decode()
        return text

    async with open_shop(stack, "preference-page") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        link = (await shop.client.preferences.page_link("u1")).url

        shown = await asyncio.to_thread(fetch, link)
        untouched = await shop.client.preferences.changes("u1")
        saved = await asyncio.to_thread(fetch, link, [("shown", "email"), ("shown", "sms"), ("on", "sms")])

        assert 'value="email" checked' in shown
        assert not untouched.changes
        assert "Saved." in saved
        assert 'value="email" checked' not in saved
        log = (await shop.client.preferences.changes("u1")).changes
        assert [change.way for change in log] == [WISH_CHANGE_WAY_PAGE]
        with pytest.raises(HTTPError, match="404"):
            await asyncio.to_thread(fetch, link[:-1] + ("A" if link[-1] != "A" else "B"))
