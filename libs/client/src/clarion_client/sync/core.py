"""Unary calls of a sync client: token, deadline, retries, errors, trace, from any thread."""

import os
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import grpc

from clarion.auth.v1 import auth_service_pb2
from clarion_client import _trace
from clarion_client._rpc import Method, RequestT, ResponseT
from clarion_client._secret import Secret
from clarion_client._status import from_sync_error, out_of_time
from clarion_client._token import Token, from_answer
from clarion_client._trace import TraceContext
from clarion_client.calls.notifications import ISSUE_TOKEN
from clarion_client.errors import Cancelled, ClarionError, Unauthenticated
from clarion_client.retry import MANY_ATTEMPTS, Attempts, RetryPolicy
from clarion_client.sync.tokens import SyncTokens


class SyncCore:
    """One channel with its token, shared by every view of one client and by all threads of one process."""

    def __init__(self, channel: grpc.Channel, app_key: str, app_secret: Secret, policy: RetryPolicy) -> None:
        self._channel = channel
        self._app_key = app_key
        self._app_secret = app_secret
        self._policy = policy
        self._pid = os.getpid()
        self._closed = threading.Event()
        self._in_flight = 0
        self._changed = threading.Condition()
        self._tokens = SyncTokens(self._issue_token)

    def call(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        timeout: timedelta,
        trace: TraceContext | None,
    ) -> ResponseT:
        """The answer within `timeout`, all attempts together. Raises ClarionError, RuntimeError once closed or in a
        forked child: gRPC's threads do not survive a fork."""
        method.check_size(request)
        attempts = Attempts(self._policy, timeout, idempotent=method.idempotent)
        with self._counted():
            return self._until_answered(method, request, attempts, trace)

    def patience(self, outage: timedelta) -> Attempts:
        """As many attempts as fit into `outage`: of what has no end of its own."""
        return Attempts(replace(self._policy, max_attempts=MANY_ATTEMPTS), outage, idempotent=True)

    def stream(
        self, method: Method[RequestT, ResponseT], request: RequestT, attempts: Attempts, longest: timedelta
    ) -> Generator[ResponseT, None, None]:
        """The answers of one call, which lasts `longest` at most and is given up when the generator is closed. Raises
        ClarionError, RuntimeError once closed or in a forked child."""
        self._require_usable()
        token = self._tokens.get(attempts.remaining_seconds)
        metadata = (("authorization", f"Bearer {token.value.reveal()}"),)
        multi = self._channel.unary_stream(
            method.path, request_serializer=method.serialize, response_deserializer=method.deserialize
        )
        call = multi(request, timeout=longest.total_seconds(), metadata=metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            failed = from_sync_error(error, "")
            if self._closed.is_set():
                raise Cancelled("the client was closed during the call", code=grpc.StatusCode.CANCELLED) from error
            if isinstance(failed, Unauthenticated):
                self._tokens.reject(token)
            raise failed from error
        finally:
            call.cancel()

    def before_retry(self, attempts: Attempts, error: ClarionError) -> None:
        """Waits until the next attempt is due. Raises `error` where there is none."""
        pause = attempts.pause_after(error, with_token=True)
        if pause is None or self._closed.wait(pause):
            raise error

    def close(self, grace: timedelta) -> None:
        """No new calls, no more retries; calls in progress get `grace` to end, then they raise Cancelled. Repeatable."""
        self._closed.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight, grace.total_seconds())
        self._channel.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._require_usable()
        with self._changed:
            # Under the lock, so that `close` either sees this call or stops it.
            if self._closed.is_set():
                raise RuntimeError("the client is closed")
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _require_usable(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("the client was made before this process was forked; connect after the fork")
        if self._closed.is_set():
            raise RuntimeError("the client is closed")

    def _until_answered(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        attempts: Attempts,
        trace: TraceContext | None,
    ) -> ResponseT:
        while True:
            token = self._tokens.get(attempts.remaining_seconds) if method.needs_token else None
            try:
                return self._once(method, request, attempts.next_seconds(), token, trace)
            except ClarionError as error:
                pause = attempts.pause_after(error, with_token=token is not None)
                if pause is None:
                    raise
                if token is not None and isinstance(error, Unauthenticated):
                    self._tokens.reject(token)
                if self._closed.wait(pause):
                    raise

    def _once(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        timeout_seconds: float,
        token: Token | None,
        trace: TraceContext | None,
    ) -> ResponseT:
        if timeout_seconds <= 0.0:
            raise out_of_time("a connection")
        metadata: tuple[tuple[str, str], ...] = ()
        if token is not None:
            metadata += (("authorization", f"Bearer {token.value.reveal()}"),)
        if trace is not None:
            metadata += ((_trace.HEADER, trace.traceparent),)
        try:
            multi = self._channel.unary_unary(
                method.path, request_serializer=method.serialize, response_deserializer=method.deserialize
            )
            answer: ResponseT = multi(request, timeout=timeout_seconds, metadata=metadata)
        except grpc.RpcError as error:
            failed = from_sync_error(error, trace.sampled_trace_id if trace else "")
            if failed.code is grpc.StatusCode.CANCELLED and self._closed.is_set():
                raise Cancelled("the client was closed during the call", code=failed.code) from error
            raise failed from error
        except ValueError as error:
            # What gRPC raises on a channel that was closed between two attempts.
            if not self._closed.is_set():
                raise
            raise Cancelled("the client was closed during the call", code=grpc.StatusCode.CANCELLED) from error
        return answer

    def _issue_token(self, timeout_seconds: float) -> Token:
        request = auth_service_pb2.IssueTokenRequest(app_key=self._app_key, app_secret=self._app_secret.reveal())
        attempts = Attempts(self._policy, timedelta(seconds=timeout_seconds), idempotent=ISSUE_TOKEN.idempotent)
        answer = self._until_answered(ISSUE_TOKEN, request, attempts, None)
        return from_answer(answer, wall=datetime.now(UTC), monotonic=time.monotonic())


@dataclass(frozen=True, slots=True)
class TimedCaller:
    """The core with the timeout of one view."""

    core: SyncCore
    timeout: timedelta

    def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        return self.core.call(method, request, self.timeout, _trace.current())
