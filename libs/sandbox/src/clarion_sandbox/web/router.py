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
    huawei: Handler
    huawei_token: Handler
    twilio: Handler
    ses: Handler
    sendgrid: Handler
    control: Handler
    inbox: Handler

    async def __call__(self, request: Request) -> Outcome:
        """Hand the request to its provider."""
        path = request.path
        if path.startswith("/3/"):
            return await self.apns(request)
        if path.startswith("/v1/projects/"):
            return await self.fcm(request)
        if path.startswith(("/v1/", "/v2/")) and path.endswith("/messages:send"):
            return await self.huawei(request)
        if path == "/oauth2/v3/token":
            return await self.huawei_token(request)
        if path.startswith("/2010-04-01/"):
            return await self.twilio(request)
        if path.startswith("/v2/email/"):
            return await self.ses(request)
        if path.startswith("/v3/mail/"):
            return await self.sendgrid(request)
        if path.startswith("/wp/"):
            return await self.webpush(request)
        if path == "/token":
            return await self.token(request)
        if path.startswith("/sandbox/"):
            return await self.control(request)
        if path == "/inbox" or path.startswith("/inbox/"):
            return await self.inbox(request)
        return json_reply(404, {"error": "no provider has this path"})
