"""A proxy that delays data to a server, as if the server were further away."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Queue
from threading import Thread


def slowly(port: int, delay: float) -> int:
    """Open a port that leads to `port` on this machine; data arrives there `delay` seconds later."""
    listener = socket.create_server(("127.0.0.1", 0))
    _start(lambda: _serve(listener, port, delay))
    return int(listener.getsockname()[1])


def _start(work: Callable[[], None]) -> None:
    Thread(target=work, daemon=True).start()


def _serve(listener: socket.socket, port: int, delay: float) -> None:
    while True:
        _connect(listener.accept()[0], socket.create_connection(("127.0.0.1", port)), delay)


def _connect(near: socket.socket, far: socket.socket, delay: float) -> None:
    for one in (near, far):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent: Queue[tuple[float, bytes]] = Queue()
    _start(lambda: _copy(far, near.sendall))
    _start(lambda: _copy(near, lambda data: sent.put((time.monotonic() + delay, data))))
    _start(lambda: _forward(sent, far))


def _copy(source: socket.socket, take: Callable[[bytes], None]) -> None:
    """Copy until either connection ends."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            take(data)
        take(b"")


def _forward(sent: "Queue[tuple[float, bytes]]", far: socket.socket) -> None:
    with suppress(OSError):
        while (one := sent.get())[1]:
            time.sleep(max(0.0, one[0] - time.monotonic()))
            far.sendall(one[1])
        far.close()
