"""The tracker's HTTP paths, and who answers below them."""

import re

from clarion_tracker.callbacks import Callbacks
from clarion_tracker.pages import Pages
from clarion_tracker.ports import Reply, Request
from clarion_tracker.preferences import Preferences
from clarion_tracker.unsubscribe import Unsubscribing

_CALLBACK = re.compile(r"/v1/callbacks/([a-z]{1,16})/([^/]{1,16})")
_UNSUBSCRIBE = re.compile(r"/u/([^/]*)")
_PREFERENCES = re.compile(r"/p/([^/]*)")


class Site:
    """Answers every request."""

    def __init__(
        self, pages: Pages, callbacks: Callbacks, unsubscribing: Unsubscribing, preferences: Preferences
    ) -> None:
        self._pages = pages
        self._callbacks = callbacks
        self._unsubscribing = unsubscribing
        self._preferences = preferences

    async def answer(self, request: Request) -> Reply:
        callback = _CALLBACK.fullmatch(request.path)
        if callback is not None:
            return await self._callbacks.answer(request, callback[1], callback[2])
        unsubscribe = _UNSUBSCRIBE.fullmatch(request.path)
        if unsubscribe is not None:
            return await self._unsubscribing.answer(request, unsubscribe[1])
        preferences = _PREFERENCES.fullmatch(request.path)
        if preferences is not None:
            return await self._preferences.answer(request, preferences[1])
        return await self._pages.answer(request)
