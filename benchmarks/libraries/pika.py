"""pika: messages that are published and confirmed from threads, and a consumer that acknowledges each."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pika import BasicProperties, BlockingConnection, ConnectionParameters

from ..calls import CONTENT_BYTES
from .count import Count

_QUEUE = "bench"
#: Messages that are sent to a consumer before it has acknowledged the first of them.
_PREFETCH = 100
_PERSISTENT = BasicProperties(delivery_mode=2)


def _channel(port: int) -> Any:
    channel = BlockingConnection(ConnectionParameters("127.0.0.1", port)).channel()
    channel.queue_declare(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    return channel


@contextmanager
def adding(port: int) -> Iterator[Callable[[int], object]]:
    """A connection for each thread, as pika wants it; a call returns when the message is confirmed."""
    own = threading.local()

    def add(jobs: int) -> None:
        if not hasattr(own, "channel"):
            own.channel = _channel(port)
            own.channel.confirm_delivery()
        own.channel.basic_publish("", _QUEUE, CONTENT_BYTES, _PERSISTENT)

    yield add


def work(port: int, concurrency: int, count: Count) -> None:
    """One consumer in the thread of its connection."""
    channel = _channel(port)
    channel.basic_qos(prefetch_count=_PREFETCH)

    def handle(channel: Any, method: Any, properties: object, body: bytes) -> None:
        channel.basic_ack(method.delivery_tag)
        count.to_the_end()

    channel.basic_consume(_QUEUE, handle)
    channel.start_consuming()
