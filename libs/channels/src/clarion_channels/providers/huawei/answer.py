"""From Push Kit's HTTP answer to a `Result` for each token of the request: pure rules, no I/O."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.errortable import UNLISTED_PREFIX, ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome, Result

ILLEGAL = "illegal_token"
"""The reason of a token that is listed without a cause."""

_OK = 200
_UNAUTHORIZED = 401
_ALL_ACCEPTED = "80000000"
_PARTLY_ACCEPTED = "80100000"
_TOKEN_ERRORS = frozenset({"80200001", "80200003"})
_REQUEST_ID_LENGTH = 128


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Body(_Lenient):
    code: str = ""
    msg: str = ""
    request_id: str = Field(default="", alias="requestId")


class _Partly(_Lenient):
    """The JSON inside `msg`; tokens as a list or, in newer answers, by cause."""

    success: int
    illegal_tokens: tuple[str, ...] | dict[str, tuple[str, ...]] = ()

    def causes(self) -> Mapping[str, str]:
        """The cause by token."""
        if isinstance(self.illegal_tokens, tuple):
            return dict.fromkeys(self.illegal_tokens, ILLEGAL)
        return {token: cause for cause, tokens in self.illegal_tokens.items() for token in tokens}


def message_id(request_id: str, token: str) -> str:
    """What tells the messages of one request apart: its id and 64 bits of the token's SHA-256, known from a receipt too."""
    return f"{request_id[:_REQUEST_ID_LENGTH]}:{hashlib.sha256(token.encode()).hexdigest()[:16]}"


def refuses_access_token(answer: HttpAnswer) -> bool:
    """Whether another access token may help."""
    body = _body(answer.body)
    return body.code in _TOKEN_ERRORS or (answer.status == _UNAUTHORIZED and not body.code)


def classify(table: ErrorTable, answer: HttpAnswer, tokens: Collection[str], now: datetime) -> Mapping[str, Result]:
    """The meaning of an answer for each token of its request; tokens are kept out of the details."""
    body = _body(answer.body)
    if answer.status == _OK and body.code == _ALL_ACCEPTED:
        return {token: _accepted(body, token) for token in tokens}
    if answer.status == _OK and body.code == _PARTLY_ACCEPTED:
        return _partly(table, body, tokens)
    if answer.status == _OK and not body.code:
        # Not what Push Kit answers: whether it took the messages cannot be told.
        detail = excerpt(answer.body, *tokens) if len(tokens) == 1 else ""
        return dict.fromkeys(tokens, Result(Outcome.UNKNOWN, code=f"{UNLISTED_PREFIX}{_OK}", detail=detail))
    return dict.fromkeys(tokens, _refused(table, answer, body, tokens, now))


def _refused(table: ErrorTable, answer: HttpAnswer, body: _Body, tokens: Collection[str], now: datetime) -> Result:
    verdict = table.lookup(answer.status, body.code)
    outcome, retry_after = verdict.outcome, answer.retry_after(now)
    if outcome is Outcome.RETRY and retry_after is not None:
        outcome = Outcome.AFTER
    return Result(
        outcome,
        code=verdict.code(answer.status, body.code),
        detail=excerpt(body.msg or answer.body, *tokens),
        retry_after=retry_after if outcome.retryable else None,
    )


def _partly(table: ErrorTable, body: _Body, tokens: Collection[str]) -> Mapping[str, Result]:
    try:
        partly = _Partly.model_validate_json(body.msg)
    except ValidationError:
        return dict.fromkeys(
            tokens, Result(Outcome.UNKNOWN, code=f"{_OK}:{_PARTLY_ACCEPTED}", detail="no list of tokens")
        )
    causes = partly.causes()
    results: dict[str, Result] = {}
    for token in tokens:
        cause = causes.get(token)
        if cause is not None:
            verdict = table.lookup(_OK, cause)
            results[token] = Result(verdict.outcome, code=verdict.code(_OK, _PARTLY_ACCEPTED, cause))
    unlisted = [token for token in tokens if token not in results]
    if len(unlisted) == partly.success:
        return results | {token: _accepted(body, token) for token in unlisted}
    # The list and the count disagree: which of the others were taken cannot be told.
    unclear = Result(Outcome.UNKNOWN, code=f"{_OK}:{_PARTLY_ACCEPTED}", detail="the list of tokens is not complete")
    return results | dict.fromkeys(unlisted, unclear)


def _accepted(body: _Body, token: str) -> Result:
    return Result(Outcome.ACCEPTED, provider_message_id=message_id(body.request_id, token) if body.request_id else "")


def _body(body: bytes) -> _Body:
    try:
        return _Body.model_validate_json(body)
    except ValidationError:
        return _Body()
