# Made from _async/events.py by tests/client/twin.py: edit that one and run it again.
"""Watches the events of a queue."""

import random
from contextlib import closing
from http import HTTPStatus
from typing import Any

from msgspec.json import Decoder

from .. import calls, shapes
from ..errors import AccessDenied, EventsLost, Forbidden, OutcomeUnknown, Unavailable
from ..event_stream import EventParser
from ..http_codec import Broken, NotConnected, Request, Response
from ..retrying import Patience
from ..secret import Secret
from ..values import JobEvent
from .caller import Caller
from .transport import Stream, monotonic, sleep

#: Seconds of silence after which a connection counts as broken; the server sends something every 20 seconds.
_SILENCE = 50.0
_STREAM = "text/event-stream"
_event = Decoder(shapes.of(JobEvent)).decode
_LOST = "The next events are no longer kept: read the jobs again, then watch again."


def watch(caller: Caller, queue: str, key: Secret | None, after: str | None) -> Stream[JobEvent]:
    """
    Watch the events of a queue; after a broken connection, resume after the last event. If the access key is refused,
    use the admin key, if there is one. Raises EventsLost.
    """
    try:
        with closing(_watch(caller, queue, key, after)) as events:
            for event in events:
                after = event.id
                yield event
    except (AccessDenied, Forbidden):
        if key is None or caller.admin_key is None:
            raise
    with closing(_watch(caller, queue, None, after)) as events:
        for event in events:
            yield event


def _watch(caller: Caller, queue: str, key: Secret | None, after: str | None) -> Stream[JobEvent]:
    """Watch with one key."""
    last, watched = after, False
    patience = Patience(caller.retry_for, random.random)
    while True:
        headers = {} if last is None else {"Last-Event-ID": last}
        request = caller.request(
            calls.WATCH_EVENTS, key=key, query={"queueName": queue}, headers=headers, wait=_SILENCE
        )
        trouble: Unavailable = OutcomeUnknown(f"The stream of events from {caller.pool.address.url} ended.")
        try:
            with closing(_events(caller, request)) as events:
                for event in events:
                    if event is None:
                        if watched and last is None:
                            raise EventsLost(_LOST)
                        watched, patience = True, Patience(caller.retry_for, random.random)
                    elif isinstance(event, str):
                        last = event
                    else:
                        last = event.id
                        yield event
        except (NotConnected, Broken, Unavailable) as error:
            trouble = _unavailable(error, caller.pool.address.url)
        delay = None if caller.pool.closed else patience.delay(monotonic(), trouble.retry_after)
        if delay is None:
            raise trouble
        sleep(delay)


def _unavailable(error: Exception, url: str) -> Unavailable:
    return error if isinstance(error, Unavailable) else Unavailable(f"No events from {url}: {error}.")


def _events(caller: Caller, request: Request) -> Stream[JobEvent | str | None]:
    """Yield None when the answer begins, the id after which its events begin, and the events of this connection."""
    parser, refused, body = EventParser(), None, b""
    with closing(caller.pool.stream(request, _SILENCE)) as parts:
        for part in parts:
            if isinstance(part, Response):
                part.url = caller.pool.address.url
                refused = None if _is_stream(part) else part
                if refused is None:
                    yield None
            elif refused is not None:
                body += part
            else:
                for sent in parser.feed(part):
                    if sent.kind == "gone":
                        raise EventsLost(_LOST)
                    yield JobEvent(_read(sent.data, caller.pool.address.url), sent.id) if sent.data else sent.id
    if refused is not None:
        refused.body = body
        raise calls.failure(refused, calls.WATCH_EVENTS.special)


def _is_stream(head: Response) -> bool:
    """Whether the answer is a stream of events; raises NotJobEngine for a 200 with another content."""
    if head.status == HTTPStatus.OK and head.media_type != _STREAM:
        raise calls.not_jobengine(head, "it is not an event stream")
    return head.status == HTTPStatus.OK


def _read(data: str, url: str) -> Any:
    """The data of an event from the server at `url`."""
    return calls.json_of(Response(HTTPStatus.OK, {}, data.encode(), url), _event)
