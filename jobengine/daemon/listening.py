"""Starts the site's listening port, and reports its address."""

import errno
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
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

from .settings import BadSetting

#: The beginnings of endpoints that speak TLS.
_TLS: Final = ("ssl:", "tls:")
#: The directory of certificates in Twisted's endpoint `tls:DIRECTORY:PORT`, with its escapes.
_DIRECTORY: Final = re.compile(r"tls:((?:[^:=\\]|\\.)+)(?::|$)")
#: The arguments of Twisted's endpoint `ssl:`, such as `privateKey=FILE`, with its escapes.
_ARGUMENT: Final = re.compile(r":(\w+)=((?:[^:\\]|\\.)+)")
#: Python's error for a port that is not a number begins with this, and ends with the port in quotes.
_NO_NUMBER: Final = "invalid literal for int() with base 10: "
#: How the texts of OpenSSL's errors begin: they are lists of tuples.
_OPENSSL: Final = "[("


_OTHER_HOST: Final = "Choose an address of this machine with --api-host or API_HOST, or in LISTEN if that is set."
_OTHER_PORT: Final = "Choose another port with --api-port or API_PORT, or in LISTEN if that is set."
#: What to do about a system's error at listening, by its number.
_ADVICE: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: _OTHER_PORT,
    errno.EACCES: _OTHER_PORT,
    errno.EADDRNOTAVAIL: _OTHER_HOST,
    socket.EAI_NONAME: _OTHER_HOST,
    socket.EAI_AGAIN: _OTHER_HOST,
}


class CannotListen(OSError):
    """The system doesn't let the server listen at its address; str() advises what to do."""


@implementer(IStreamServerEndpoint)
@define
class _Place:
    """An endpoint; str() is the address at which it listens, such as http://127.0.0.1:6006."""

    _endpoint: IStreamServerEndpoint
    #: The endpoint as set by LISTEN, or made from host and port.
    _text: str
    _scheme: str
    _address: Any = field(default=None, init=False)

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """Start to listen; fails with CannotListen if the system refuses, and with the endpoint's errors."""
        return self._endpoint.listen(factory).addCallbacks(self._keep_address, self._explain)

    def _keep_address(self, port: IListeningPort) -> IListeningPort:
        self._address = port.getHost()
        return port

    def _explain(self, failure: Failure) -> Failure:
        error = failure.value
        advice = _ADVICE.get(getattr(error.socketError, "errno", 0)) if isinstance(error, CannotListenError) else None
        if advice is not None:
            raise CannotListen(f"{error} {advice}")
        if isinstance(error, OverflowError):
            raise BadSetting(what_is_wrong(self._text, error))
        return failure

    def __str__(self) -> str:
        if isinstance(self._address, UNIXAddress):
            return f"unix:{os.fsdecode(self._address.name or b'')}"
        host, port = getattr(self._address, "host", None), getattr(self._address, "port", None)
        if host is None:
            return str(self._address or "an address that is not known yet")
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def what_is_wrong(endpoint: str, error: Exception) -> str:
    """Why an endpoint can't be used, and how to write one, from the error that Twisted or Python raised for it."""
    how = "for example tcp:6006:interface=127.0.0.1 or ssl:6443:privateKey=key.pem:certKey=cert.pem"
    return f"LISTEN {endpoint!r} can't be used: {_reason(error)}; {how}"


def _reason(error: Exception) -> str:
    text = str(error)
    match error:
        case TypeError() | RuntimeError():  # an unknown argument, or a backslash at the end
            return "a part is missing or misspelled"
        case OverflowError():
            return "a port is a number from 0 to 65535"
        case LookupError():
            return "systemd passes no such socket"
        case _ if text.startswith(_OPENSSL):
            return "the files of the key and the certificate must be PEM, and belong together"
        case _ if text.startswith(_NO_NUMBER):
            return f"{text.removeprefix(_NO_NUMBER)} is not a number"
    return text


def unsent_chain(endpoint: str) -> str:
    """
    A warning if the file of the server's certificate has certificates of its issuers too, which Twisted's endpoint
    `ssl:` sends only from the file `extraCertChain`; otherwise an empty text. Only files given by name are looked at.
    """
    given = {name: _unescaped(value) for name, value in _ARGUMENT.findall(endpoint)}
    if not endpoint.startswith("ssl:") or "extraCertChain" in given:
        return ""
    path = given.get("certKey") or given.get("privateKey")
    if path is None or Path(path).read_bytes().count(b"-----BEGIN CERTIFICATE-----") <= 1:
        return ""
    return (
        f"only the first certificate in {path} is sent, so clients may not trust it; name the file with the other "
        "certificates, such as certbot's chain.pem, in LISTEN: extraCertChain=chain.pem"
    )


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def listener(endpoint: str, factory: Any, reactor: Any) -> StreamServerEndpointService:
    """
    The service that listens at `endpoint` with `factory`; str() of the service's `endpoint` is the address. Raises
    Twisted's errors for an invalid endpoint, and NotADirectoryError for a `tls:` without a directory of certificates.
    """
    if (named := _DIRECTORY.match(endpoint)) and not os.path.isdir(path := _unescaped(named[1])):
        raise NotADirectoryError(f"there is no directory of certificates {path!r}, which tls: needs")
    made: StreamServerEndpointService = service(endpoint, factory, reactor)
    made.endpoint = _Place(made.endpoint, endpoint, "https" if endpoint.startswith(_TLS) else "http")
    return made
