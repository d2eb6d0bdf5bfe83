"""Starts the site's listening port, and reports its address."""

import errno
import os
from typing import Any, Final

from attrs import define, field
from twisted.application.internet import StreamServerEndpointService
from twisted.application.strports import service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

#: Python's error for a port that is not a number begins with this, and ends with the port in quotes.
_NO_NUMBER: Final = "invalid literal for int() with base 10: "


class PortTaken(OSError):
    """Another process listens at the port; str() advises what to do."""


@implementer(IStreamServerEndpoint)
@define
class _Place:
    """An endpoint; str() is the address at which it listens, such as http://127.0.0.1:6006."""

    _endpoint: IStreamServerEndpoint
    _scheme: str
    _address: Any = field(default=None, init=False)

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """Start to listen; fails with PortTaken if another process listens there, and with the endpoint's errors."""
        return self._endpoint.listen(factory).addCallbacks(self._keep_address, _explain)

    def _keep_address(self, port: IListeningPort) -> IListeningPort:
        self._address = port.getHost()
        return port

    def __str__(self) -> str:
        if isinstance(self._address, UNIXAddress):
            return f"unix:{os.fsdecode(self._address.name or b'')}"
        host, port = getattr(self._address, "host", None), getattr(self._address, "port", None)
        if host is None:
            return str(self._address or "an address that is not known yet")
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def what_is_wrong(error: Exception) -> str:
    """Why an endpoint can't be used, and how to write one; `error` is Twisted's, or Python's for a wrong argument."""
    reason = "a part is missing or misspelled" if isinstance(error, TypeError) else str(error)
    if reason.startswith(_NO_NUMBER):
        reason = f"{reason.removeprefix(_NO_NUMBER)} is not a number"
    if not isinstance(error, TypeError | ValueError):
        return reason
    return f"{reason}; for example tcp:6006:interface=127.0.0.1 or ssl:6443:privateKey=key.pem:certKey=cert.pem"


def listener(endpoint: str, factory: Any, reactor: Any) -> StreamServerEndpointService:
    """
    The service that listens at `endpoint` with `factory`; str() of the service's `endpoint` is the address. Raises
    Twisted's errors for an invalid endpoint.
    """
    made: StreamServerEndpointService = service(endpoint, factory, reactor)
    made.endpoint = _Place(made.endpoint, "https" if endpoint.startswith("ssl:") else "http")
    return made


def _explain(failure: Failure) -> Failure:
    error = failure.value
    if isinstance(error, CannotListenError) and getattr(error.socketError, "errno", None) == errno.EADDRINUSE:
        raise PortTaken(f"{error} Choose another port with --api-port or API_PORT, or in LISTEN if that is set.")
    return failure
