"""Unary calls of an async client: token, deadline, retries, errors, trace."""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import grpc

from clarion.auth.v1 import auth_service_pb2
from clarion_client import _trace
from clarion_client._rpc import Method, RequestT, ResponseT
from clarion_client._secret import Secret
from clarion_client._status import from_aio_error, out_of_time
from clarion_client._token import Token, from_answer
from clarion_client._trace import TraceContext
from clarion_client.aio.tokens import AsyncTokens
from clarion_client.calls.notifications import ISSUE_TOKEN
from clarion_client.errors import Cancelled, ClarionError, Unauthenticated
from clarion_client.retry import MANY_ATTEMPTS, Attempts, RetryPolicy

_TOKEN_TIMEOUT = timedelta(seconds=10)


class AsyncCore:
    """One channel with its token, shared by every view of one client."""

    def __init__(self, channel: grpc.aio.Channel, app_key: str, app_secret: Secret, policy: RetryPolicy) -> None:
        self.channel = channel
        self._app_key = app_key
        self._app_secret = app_secret
        self._policy = policy
        self._closed = False
        self.tokens = AsyncTokens(self._issue_token)

    def attempts(self, timeout: timedelta, *, idempotent: bool) -> Attempts:
        return Attempts(self._policy, timeout, idempotent=idempotent)

    def patience(self, outage: timedelta) -> Attempts:
        """As many attempts as fit into `outage`: of what has no end of its own."""
        return Attempts(replace(self._policy, max_attempts=MANY_ATTEMPTS), outage, idempotent=True)

    async def call(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        timeout: timedelta,
        trace: TraceContext | None,
    ) -> ResponseT:
        """The answer within `timeout`, all attempts together. Raises ClarionError, RuntimeError once closed."""
        method.check_size(request)
        attempts = self.attempts(timeout, idempotent=method.idempotent)
        while True:
            token = await self.token(attempts) if method.needs_token else None
            try:
                return await self._once(method, request, attempts.next_seconds(), token, trace)
            except ClarionError as error:
                await self.before_retry(attempts, error, token)

    async def before_retry(self, attempts: Attempts, error: ClarionError, token: Token | None) -> None:
        """Waits until the next attempt is due. Raises `error` where there is none."""
        pause = attempts.pause_after(error, with_token=token is not None)
        if pause is None:
            raise error
        if token is not None and isinstance(error, Unauthenticated):
            self.tokens.reject(token)
        await asyncio.sleep(pause)

    async def token(self, attempts: Attempts) -> Token:
        self.require_open()
        return await self.tokens.get(attempts.remaining_seconds())

    def require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the client is closed")

    def was_cut(self) -> bool:
        """Whether a CancelledError comes from `close` and not from whoever cancelled the current task."""
        task = asyncio.current_task()
        return self._closed and (task is None or not task.cancelling())

    async def close(self, grace: timedelta) -> None:
        """No new calls; those in progress get `grace` to end, then they raise Cancelled. Repeatable."""
        self._closed = True
        await self.tokens.close(grace)
        await self.channel.close(grace.total_seconds())

    async def _once(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        timeout_seconds: float,
        token: Token | None,
        trace: TraceContext | None,
    ) -> ResponseT:
        self.require_open()
        if timeout_seconds <= 0.0:
            raise out_of_time("a connection")
        # gRPC's stubs are generic in Any; the method's own serialisers carry the types.
        multi = self.channel.unary_unary(
            method.path, request_serializer=method.serialize, response_deserializer=method.deserialize
        )
        try:
            answer: ResponseT = await multi(request, timeout=timeout_seconds, metadata=call_metadata(token, trace))
        except grpc.aio.AioRpcError as error:
            raise from_aio_error(error, trace.sampled_trace_id if trace else "") from error
        except asyncio.CancelledError:
            if self.was_cut():
                raise cut_off() from None
            raise
        return answer

    async def _issue_token(self) -> Token:
        request = auth_service_pb2.IssueTokenRequest(app_key=self._app_key, app_secret=self._app_secret.reveal())
        answer = await self.call(ISSUE_TOKEN, request, _TOKEN_TIMEOUT, None)
        return from_answer(answer, wall=datetime.now(UTC), monotonic=time.monotonic())


@dataclass(frozen=True, slots=True)
class TimedCaller:
    """The core with the timeout of one view."""

    core: AsyncCore
    timeout: timedelta

    async def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        return await self.core.call(method, request, self.timeout, _trace.current())


def call_metadata(token: Token | None, trace: TraceContext | None) -> grpc.aio.Metadata:
    metadata = grpc.aio.Metadata()
    if token is not None:
        metadata.add("authorization", f"Bearer {token.value.reveal()}")
    if trace is not None:
        metadata.add(_trace.HEADER, trace.traceparent)
    return metadata


def cut_off() -> Cancelled:
    return Cancelled("the client was closed during the call", code=grpc.StatusCode.CANCELLED)
