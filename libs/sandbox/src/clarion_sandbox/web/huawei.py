"""Huawei Push Kit: ``POST /v1/<client id>/messages:send`` and ``POST /v2/<project id>/messages:send``.

One request carries one message to up to 1,000 tokens. Source: HUAWEI Push Kit, "Sending Downlink Messages", "Message
Receipt".
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clarion_sandbox import content
from clarion_sandbox.answers import AnswerTable, Fate, Row, Special
from clarion_sandbox.callback_urls import CallbackUrls
from clarion_sandbox.callbacks import Call, Callbacks, Prepare
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger

from .http import Outcome, Reply, Request, is_lost, json_reply, silence
from .huawei_schema import Fault, parse_send_request
from .huawei_token import ClientTokens, TokenState
from .manners import HEAD_START_SECONDS, delay_of

NAME = "huawei"
_SUCCESS = "80000000"
_PARTLY = "80100000"
_NONE_VALID = "80300007"
_DELIVERED = 0
_REPLACED = 15
_STATUSES_PER_CALL = 100
_MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True)
class App:
    """The one app: the ids its requests carry, and what its receipts are signed with."""

    client_id: str
    project_id: str
    callback_user: str
    callback_key: str = field(repr=False)
    receipt_delay_seconds: float = 0.1


class Receipts:
    """Reports of what became of messages, merged up to a hundred per call."""

    def __init__(
        self, app: App, callbacks: Callbacks, urls: CallbackUrls, clock: Callable[[], float] = time.time
    ) -> None:
        self._app = app
        self._callbacks = callbacks
        self._urls = urls
        self._clock = clock

    def plan(self, request_id: str, tag: str, results: Sequence[tuple[str, Row | None]], *, is_v2: bool) -> bool:
        """Report on the accepted tokens of a request; says whether a report is to come before the answer."""
        url = self._urls.get(NAME)
        if url is None:
            return False
        ordinary: list[dict[str, object]] = []
        is_ahead = False
        for token, row in results:
            manner = (row.text("manner") if row else None) or ""
            result = (row.number("result") if row else None) or _DELIVERED
            status = self._status(request_id, tag, token, result, is_v2=is_v2)
            if not manner:
                ordinary.append(status)
                continue
            is_ahead = is_ahead or manner == "before_response"
            calls = [self._call([status])]
            if manner == "twice":
                calls *= 2
            elif manner == "reversed":
                calls.append(self._call([self._status(request_id, tag, token, _REPLACED, is_v2=is_v2)]))
            if manner != "never":
                delay = delay_of(manner, self._app.receipt_delay_seconds)
                self._callbacks.post(NAME, url, calls, delay)
        for start in range(0, len(ordinary), _STATUSES_PER_CALL):
            call = self._call(ordinary[start : start + _STATUSES_PER_CALL])
            self._callbacks.post(NAME, url, [call], self._app.receipt_delay_seconds)
        return is_ahead

    def _status(self, request_id: str, tag: str, token: str, result: int, *, is_v2: bool) -> dict[str, object]:
        now_ms = int(self._clock() * 1000)
        common: dict[str, object] = {"token": token, "biTag": tag, "requestId": request_id}
        if is_v2:
            delivery = {"result": result, "timestamp": now_ms}
            return common | {"pushType": 0, "appPackageName": "com.example.clarion", "deliveryStatus": delivery}
        return common | {"status": result, "timestamp": now_ms, "appid": self._app.client_id}

    def _call(self, statuses: Sequence[Mapping[str, object]]) -> Prepare:
        def prepare() -> Call:
            timestamp, nonce = str(int(self._clock() * 1000)), str(uuid.uuid4())
            signed = f"{timestamp}{nonce}{self._app.callback_user}".encode()
            digest = hmac.new(self._app.callback_key.encode(), signed, hashlib.sha256).digest()
            value = base64.b64encode(digest).decode("ascii")
            headers = {
                "Content-Type": "application/json",
                "X-HUAWEI-CALLBACK-ID": f"timestamp={timestamp}; nonce={nonce}; value={value}",
            }
            return Call(headers, json.dumps({"statuses": list(statuses)}).encode())

        return prepare


class Huawei:
    """The handler."""

    def __init__(
        self,
        app: App,
        tokens: ClientTokens,
        table: AnswerTable,
        fates: Fates,
        ledger: Ledger,
        receipts: Receipts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paths = {
            f"/v1/{app.client_id}/messages:send": False,
            f"/v2/{app.project_id}/messages:send": True,
        }
        self._tokens = tokens
        self._table = table
        self._fates = fates
        self._ledger = ledger
        self._receipts = receipts
        self._last_id = itertools.count(int(clock() * 1000) * 1_000_000)

    async def __call__(self, request: Request) -> Outcome:
        """Answer one batch: a row of one of its tokens may refuse all of it, or that token alone."""
        refused = self._authorize(request)
        if refused is not None:
            self._ledger.refuse(NAME, answer=_label(refused), size=len(request.body))
            return self._answer(refused)
        try:
            message, tokens, validate_only = parse_send_request(request.body)
        except Fault as fault:
            row = self._table.by_reason(fault.code)
            self._ledger.refuse(NAME, answer=_label(row), size=len(request.body))
            return self._answer(row, str(fault))
        fates = [(token, self._fate(token)) for token in tokens]
        latency = max(self._fates.latency(NAME, token) for token in tokens)
        if latency:
            await asyncio.sleep(latency)
        whole = next((fate for _, fate in fates if _concerns_all(fate)), None)
        if isinstance(whole, Row):
            self._refuse_all(tokens, _label(whole))
            return self._answer(whole)
        if whole is not None and not is_lost(whole):
            self._refuse_all(tokens, whole)
            return silence(whole)
        if validate_only:
            self._refuse_all(tokens, "200 validate_only")
            return self._answer_with(_SUCCESS, "Success")
        return await self._take(request, message, fates, whole)

    def _authorize(self, request: Request) -> Row | None:
        if request.path not in self._paths or request.method != "POST":
            return self._table.row("4040")
        scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
        match self._tokens.state(token) if scheme == "Bearer" else TokenState.UNKNOWN:
            case TokenState.UNKNOWN:
                return self._table.row("4010")
            case TokenState.EXPIRED:
                return self._table.row("4011")
            case TokenState.VALID:
                return None

    def _fate(self, token: str) -> Fate | None:
        if len(token) < _MIN_TOKEN_LENGTH or not token.isascii():
            return self._table.row("2000")
        return self._fates.decide(NAME, token)

    async def _take(
        self,
        request: Request,
        message: dict[str, object],
        fates: Sequence[tuple[str, Fate | None]],
        lost: Fate | None,
    ) -> Outcome:
        illegal = [(token, fate) for token, fate in fates if isinstance(fate, Row) and _concerns_token(fate)]
        listed = {token for token, _ in illegal}
        taken = [(token, fate if isinstance(fate, Row) else None) for token, fate in fates if token not in listed]
        for token, row in illegal:
            self._ledger.refuse(NAME, answer=_label(row), destination=token)
        if not taken and all(row.text("cause") == "" for _, row in illegal):
            return self._answer(self._table.row("4007"))
        request_id = str(next(self._last_id))
        android = message.get("android")
        tag = str(android.get("bi_tag", "")) if isinstance(android, dict) else ""
        digest = content.of_huawei(message)
        kept = json.dumps(message, ensure_ascii=False).encode()
        for token, _ in taken:
            self._ledger.accept(
                NAME,
                answer="200" if lost is None else str(lost),
                message_id=message_id(request_id, token),
                destination=token,
                digest=digest,
                content=kept,
                our_id=tag,
            )
        if self._receipts.plan(request_id, tag, taken, is_v2=self._paths[request.path]):
            await asyncio.sleep(HEAD_START_SECONDS)
        if isinstance(lost, Special):
            return silence(lost)
        if not illegal:
            return self._answer_with(_SUCCESS, "Success", request_id)
        partly = {"success": len(taken), "failure": len(illegal), "illegal_tokens": _listing(illegal)}
        return self._answer_with(_PARTLY, json.dumps(partly), request_id)

    def _refuse_all(self, tokens: Sequence[str], answer: str) -> None:
        for token in tokens:
            self._ledger.refuse(NAME, answer=answer, destination=token)

    def _answer(self, row: Row, message: str | None = None) -> Reply:
        if row.detail.get("plain") is True:
            return Reply(row.status, [("content-type", "text/html")], f"<html>{row.reason}</html>".encode())
        return self._answer_with(row.reason, message or row.text("message") or "", status=row.status)

    def _answer_with(self, code: str, message: str, request_id: str = "", *, status: int = 200) -> Reply:
        return json_reply(status, {"code": code, "msg": message, "requestId": request_id or str(next(self._last_id))})


def message_id(request_id: str, token: str) -> str:
    """The ledger's id of one token's message: one request id serves a whole batch."""
    return f"{request_id}:{hashlib.sha256(token.encode()).hexdigest()[:16]}"


def _concerns_token(row: Row) -> bool:
    return row.text("cause") is not None


def _concerns_all(fate: Fate | None) -> bool:
    if isinstance(fate, Row):
        return not _concerns_token(fate) and fate.number("result") is None
    return fate is not None


def _listing(illegal: Sequence[tuple[str, Row]]) -> object:
    """A plain list, or tokens by cause as soon as one is refused for another cause than being illegal."""
    if all(row.text("cause") == "" for _, row in illegal):
        return [token for token, _ in illegal]
    causes: dict[str, list[str]] = {}
    for token, row in illegal:
        causes.setdefault(row.text("cause") or "tokenFormatError", []).append(token)
    return causes


def _label(row: Row) -> str:
    return f"{row.status} {row.reason}"
