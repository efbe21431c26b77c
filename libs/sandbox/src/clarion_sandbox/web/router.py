"""Which provider a path belongs to."""

from dataclasses import dataclass

from .http import Handler, Outcome, Request, json_reply


@dataclass(frozen=True, slots=True)
class Router:
    """One origin for all HTTPS providers; their paths do not overlap."""

    apns: Handler
    fcm: Handler
    token: Handler
    webpush: Handler
    control: Handler

    async def __call__(self, request: Request) -> Outcome:
        """Hand the request to its provider."""
        path = request.path
        if path.startswith("/3/"):
            return await self.apns(request)
        if path.startswith("/v1/"):
            return await self.fcm(request)
        if path.startswith("/wp/"):
            return await self.webpush(request)
        if path == "/token":
            return await self.token(request)
        if path.startswith("/sandbox/"):
            return await self.control(request)
        return json_reply(404, {"error": "no provider has this path"})
