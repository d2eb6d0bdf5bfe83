"""Sends requests and retries them; all calls go through it."""

import random
from collections.abc import Callable, Sequence
from copy import copy
from http import HTTPStatus
from typing import Any, Final, TypeVar

from ..batching import Item, Lane
from ..calls import Call, advised, failure, is_refusal, not_jobengine, read_answer
from ..encoding import encode
from ..errors import AccessDenied, Forbidden, JobEngineError, OutcomeUnknown, Unavailable
from ..http_codec import BadCertificate, Broken, NotConnected, Refused, Request, Response, TooLong, long_body_query
from ..retrying import REPEATED, Patience, may_have_succeeded, unknown
from ..secret import Secret
from .transport import Pool, monotonic, sleep

T = TypeVar("T")

#: Statuses of a refused key; 429 is sent after many wrong keys.
_REFUSALS: Final = frozenset({401, 403, 429})


class AsyncCaller:
    """Sends requests to one server, and retries those that are safe to repeat; times are in seconds."""

    def __init__(self, pool: Pool, *, admin_key: Secret | None, timeout: float, retry_for: float) -> None:
        self.pool = pool
        self.admin_key = admin_key
        self.timeout = timeout
        self.retry_for = retry_for
        #: Called before each retry, with the error of the attempt that failed.
        self.tell: Callable[[JobEngineError], object] | None = None

    def request(
        self,
        call: Call[Any],
        *,
        key: Secret | None = None,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        wait: float = 0,
        safe: bool | None = None,
        abandoned: Callable[[Response], Any] | None = None,
    ) -> Request:
        """
        Make the request for an API call, without sending it.

        `wait`: for how many seconds the server may delay the answer. `safe`: whether the request may be sent again; the
        default depends on the call.
        """
        return Request(
            call.method,
            call.path,
            query=query,
            body=body,
            headers=headers,
            seconds=self.timeout + wait,
            safe=call.safe if safe is None else safe,
            waits=bool(wait),
            key=key,
            admin_key=self.admin_key if call.admin or key is None else None,
            abandoned=abandoned,
        )

    async def call(self, call: Call[T], *, body: Any = None, **more: Any) -> T:
        """Make a call and return its result; `more` are arguments of `request`. Raises JobEngineError."""
        request = self.request(call, body=None if body is None else encode(body), **more)
        response, repeated = await self.exchange(request)
        if repeated and call.gone_is_done and is_refusal(response, HTTPStatus.NOT_FOUND):
            return call.read(Response(HTTPStatus.NO_CONTENT, response.headers, b""))
        return read_answer(call, response)

    async def send_batch(self, lane: Lane, key: Secret | None, batch: Sequence[Item]) -> tuple[Response, bool]:
        """
        Send a batch of calls about one queue as one request, which `lane` makes.

        Returns the answer, and whether an earlier attempt may have succeeded.
        """
        body = lane.body(batch)
        request = self.request(
            lane.call(batch),
            key=key,
            query=long_body_query(lane.queue, body),
            body=body,
            headers={"Prefer": "return=minimal"} if all(item.brief for item in batch) else None,
            safe=batch[0].safe,
        )
        return await self.exchange(request)

    async def exchange(self, request: Request) -> tuple[Response, bool]:
        """
        Send a request with retries, as `repeat` does. If the access key is refused and there is an admin key, send the
        request again with the admin key.
        """
        response, uncertain = await self.repeat(request)
        admin_key = self._other_key(request, response)
        return (response, uncertain) if admin_key is None else await self.repeat(request.as_admin(admin_key))

    async def repeat(self, request: Request) -> tuple[Response, bool]:
        """
        Send a request, and retry it if needed. Returns the answer, and whether an earlier attempt may have succeeded.

        Raises Unavailable if every attempt within `retry_for` got no answer, or an answer with a status in REPEATED.
        """
        patience = Patience(self.retry_for, random.random)
        uncertain = False
        while True:
            earlier = uncertain
            try:
                response = await self.pool.exchange(request)
            except TooLong as error:
                raise not_jobengine(Response(0, {}, b"", self.pool.address.url), str(error)) from None
            except NotConnected as error:
                trouble, again = self._trouble(Unavailable, error), not self.pool.closed
            except Broken as error:
                uncertain = True
                trouble, again = self._trouble(OutcomeUnknown, error), request.safe and not self.pool.closed
                if again and error.stale:
                    continue
            else:
                response.url = self.pool.address.url
                if response.status not in REPEATED:
                    return advised(response, self.pool.address), uncertain
                uncertain = uncertain or may_have_succeeded(response.status, response.body)
                trouble, again = failure(response), request.safe
            final = _final(trouble, uncertain=uncertain and request.method != "GET", earlier=earlier)
            await self._pause(patience, trouble, final, again=again)

    async def answer(self, request: Request, connection: Any) -> Response:
        """
        Receive the answer to a request that `begin` has sent; send the request again if needed, or if `begin` returned
        None.
        """
        if connection is not None:
            try:
                response = await self.pool.finish(request, connection)
                response.url = self.pool.address.url
                if response.status not in REPEATED and self._other_key(request, response) is None:
                    return response
            except Broken:
                pass  # the request is safe to repeat
        return (await self.exchange(request))[0]

    def _other_key(self, request: Request, response: Response) -> Secret | None:
        """The admin key, if the request was refused and had only the access key."""
        if response.status not in _REFUSALS or not request.opens_with_access_key:
            return None
        return self.admin_key if isinstance(failure(response), AccessDenied | Forbidden) else None

    def limited(self, *, timeout: float | None, retry_for: float | None) -> "AsyncCaller":
        """A caller with other time limits, which uses the same connections."""
        other = copy(self)
        other.timeout = self.timeout if timeout is None else timeout
        other.retry_for = self.retry_for if retry_for is None else retry_for
        return other

    async def begin(self, request: Request) -> Any:
        """Send a request and return the connection, for `answer`; None if the request can't be sent now."""
        try:
            return await self.pool.begin(request)
        except (NotConnected, Broken):
            return None

    async def _pause(self, patience: Patience, trouble: JobEngineError, final: JobEngineError, *, again: bool) -> None:
        """Wait before the next attempt after `trouble`; raise `final` if there is no next attempt."""
        delay = patience.delay(monotonic(), trouble.retry_after) if again else None
        if delay is None:
            raise final
        if self.tell is not None:
            self.tell(trouble)
        await sleep(delay)

    def _trouble(self, kind: type[JobEngineError], error: Exception) -> JobEngineError:
        what = "No TLS connection to" if isinstance(error, BadCertificate) else "No answer from"
        advice = " Is the server running?" if isinstance(error, Refused) else ""
        return kind(f"{what} {self.pool.address.url}: {error}.{advice}")


def _final(trouble: JobEngineError, *, uncertain: bool, earlier: bool) -> JobEngineError:
    """
    The error to raise after the last attempt. `uncertain`: whether any attempt may have succeeded; `earlier`: whether
    an attempt before the last may have.
    """
    if not uncertain or isinstance(trouble, OutcomeUnknown):
        return trouble
    return OutcomeUnknown(
        unknown(trouble.detail) if earlier else trouble.detail,
        status=trouble.status,
        request_id=trouble.request_id,
        retry_after=trouble.retry_after,
    )
