"""
Refuses browsers that reach this server under an unknown name.

The owner of a domain can point it at any address, such as 127.0.0.1 (DNS rebinding). A browser then takes this server
for a part of that domain's site, and lets the site's pages read the answers. Only the header Host reveals the attack:
it has the domain's name.
"""

import re
from http import HTTPStatus
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from attrs import frozen

from .problem import Problem
from .request import JobRequest

#: A host, and maybe a port, as browsers write them. An IPv6 address is in brackets.
_HOST: Final = re.compile(rb"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::[0-9]*)?")
#: A name without a dot; all public domain names have a dot.
_LOCAL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: The most characters of Host in an error text.
_LONGEST: Final = 64


@frozen
class Hosts:
    """The names under which browsers are answered."""

    #: Names in lower case, without a dot at the end; * for any. IP addresses and names without a dot need no entry.
    allowed: frozenset[str] = frozenset()

    def problem(self, request: JobRequest) -> Problem | None:
        """The problem to answer a browser with, or None to continue."""
        sent = request.sent
        if (b"origin" not in sent and b"sec-fetch-site" not in sent) or "*" in self.allowed:
            return None
        (host,) = sent.get(b"host") or (b"",)
        return None if self._is_known(host) else _refusal(host)

    def _is_known(self, host: bytes) -> bool:
        found = _HOST.fullmatch(host)
        if found is None or not host.isascii():
            return False
        if found[1] is not None:
            return _is_address(IPv6Address, found[1].decode())
        name = found[2].decode().lower()
        # A final dot makes a resolver treat the name as a public domain; only localhost stays local (RFC 6761, 6.3).
        bare = name.removesuffix(".")
        is_local = bare == "localhost" or _LOCAL.fullmatch(name) is not None
        return is_local or _is_address(IPv4Address, name) or bare in self.allowed


def _is_address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True


def _refusal(host: bytes) -> Problem:
    text = host.decode("latin-1")
    shown = repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
    return Problem(
        HTTPStatus.FORBIDDEN,
        f"The server does not know the host name {shown}, so a web page of a stranger may have sent this request. If "
        "the name is yours, add it to the server's setting ALLOWED_HOSTS, or set ADMIN_KEY. From the same machine, use "
        "the server's IP address or localhost.",
    )
