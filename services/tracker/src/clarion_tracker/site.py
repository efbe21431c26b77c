"""The tracker's HTTP paths, and who answers below them."""

import re

from clarion_tracker.app_events import AppEventDoor
from clarion_tracker.callbacks import Callbacks
from clarion_tracker.clicks import Clicks
from clarion_tracker.console.door import Console
from clarion_tracker.pages import Pages
from clarion_tracker.ports import Reply, Request
from clarion_tracker.preferences import Preferences
from clarion_tracker.unsubscribe import Unsubscribing

_CLICK = re.compile(r"/c/([^/]*)")
_EVENTS = "/v1/events"
_CONSOLE = re.compile(r"/console(?:/.*)?")
_CALLBACK = re.compile(r"/v1/callbacks/([a-z]{1,16})/([^/]{1,16})")
_UNSUBSCRIBE = re.compile(r"/u/([^/]*)")
_PREFERENCES = re.compile(r"/p/([^/]*)")


class Site:
    """Answers every request."""

    def __init__(
        self,
        pages: Pages,
        clicks: Clicks,
        app_events: AppEventDoor,
        callbacks: Callbacks,
        unsubscribing: Unsubscribing,
        preferences: Preferences,
        console: Console | None = None,
    ) -> None:
        self._pages = pages
        self._clicks = clicks
        self._app_events = app_events
        self._callbacks = callbacks
        self._unsubscribing = unsubscribing
        self._preferences = preferences
        self._console = console

    async def answer(self, request: Request) -> Reply:
        if request.path.startswith("/o/"):  # by far the most that come
            return await self._pages.answer(request)
        click = _CLICK.fullmatch(request.path)
        if click is not None:
            return await self._clicks.answer(request, click[1])
        if request.path == _EVENTS:
            return await self._app_events.answer(request)
        if self._console is not None and _CONSOLE.fullmatch(request.path) is not None:
            return await self._console.answer(request)
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
