"""The address in the log at which the server listens."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from jobengine.daemon.listening import CannotListen, listener, unsent_chain, what_is_wrong


class _Port:
    def __init__(self, address: Any) -> None:
        self.address = address

    def getHost(self) -> Any:
        return self.address


class _Reactor:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def listenTCP(self, port: int, factory: Factory, backlog: int = 0, interface: str = "") -> _Port:
        if self.error is not None:
            raise self.error
        kind = IPv6Address if ":" in interface else IPv4Address
        return _Port(kind("TCP", interface, port or 4711))

    def listenUNIX(self, path: str, factory: Factory, **_more: Any) -> _Port:
        return _Port(UNIXAddress(path))


def _announced(endpoint: str) -> str:
    service = listener(endpoint, Factory(), _Reactor())
    service.startService()
    return str(service.endpoint)


@pytest.mark.parametrize(
    ("endpoint", "announced"),
    [
        ("tcp:0:interface=127.0.0.1", "http://127.0.0.1:4711"),
        (r"tcp:6006:interface=\:\:1", "http://[::1]:6006"),
        ("unix:/run/jobs.sock", "unix:/run/jobs.sock"),
    ],
)
def test_the_address_is_announced_as_clients_write_it(endpoint: str, announced: str) -> None:
    assert _announced(endpoint) == announced


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EADDRINUSE, "Choose another port with --api-port or API_PORT"),
        (errno.EACCES, "Choose another port with --api-port or API_PORT"),
        (errno.EADDRNOTAVAIL, "Choose an address of this machine with --api-host or API_HOST"),
        (socket.EAI_NONAME, "Choose an address of this machine with --api-host or API_HOST"),
    ],
)
def test_an_error_at_listening_says_which_setting_to_change(number: int, advice: str) -> None:
    refused = CannotListenError("jobs.example", 80, OSError(number, "the reason"))
    with pytest.raises(CannotListen, match=rf"jobs\.example:80: .*the reason\. {advice}"):
        listener("tcp:80", Factory(), _Reactor(refused)).startService()


def test_an_unusual_error_at_listening_is_reported_unchanged() -> None:
    failed = CannotListenError("127.0.0.1", 80, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
    with pytest.raises(CannotListenError) as raised:
        listener("tcp:80", Factory(), _Reactor(failed)).startService()
    assert raised.value is failed


def test_an_endpoint_with_tls_is_announced_as_https(tmp_path: Path) -> None:
    assert _announced(f"tls:{tmp_path}:6443:interface=127.0.0.1") == "https://127.0.0.1:6443"


def test_an_escaped_colon_in_the_directory_of_a_tls_endpoint_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert _announced(rf"tls:{tmp_path}/a\:b:6443") == "https://[::]:6443"


def test_a_certificate_file_of_which_only_the_first_certificate_is_sent_causes_a_warning(tmp_path: Path) -> None:
    one, full = tmp_path / "a:one.pem", tmp_path / "full.pem"
    one.write_text("-----BEGIN CERTIFICATE-----\n")
    full.write_text(one.read_text() * 2)
    escaped = str(one).replace(":", r"\:")
    assert unsent_chain(f"ssl:6443:privateKey={full}:certKey={full}").startswith(
        f"only the first certificate in {full}"
    )
    assert unsent_chain(f"ssl:6443:privateKey={full}").startswith("only the first certificate")
    for arguments in (f"privateKey={full}:certKey={escaped}", f"certKey={full}:extraCertChain={full}"):
        assert unsent_chain(f"ssl:6443:{arguments}") == ""
    for endpoint in ("tcp:6006:interface=127.0.0.1", f"ssl:6443:{full}:{full}", "ssl:6443"):
        assert unsent_chain(endpoint) == ""


def test_the_error_for_a_port_out_of_range_shows_how_to_write_an_endpoint() -> None:
    reactor = _Reactor(OverflowError("bind(): port must be 0-65535."))
    with pytest.raises(
        ValueError, match=r"^LISTEN 'tcp:99999' can't be used: a port is a number from 0 to 65535; for ex"
    ):
        listener("tcp:99999", Factory(), reactor).startService()


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("tcp", "a part is missing or misspelled"),
        ("tcp:6006:interfaces=127.0.0.1", "a part is missing or misspelled"),
        ("tcp:6006\\", "a part is missing or misspelled"),
        ("tcp:abc", "'abc' is not a number"),
        ("nonsense:1", "Unknown endpoint type: 'nonsense'"),
        ("ssl:0:privateKey=missing.pem", "[Errno 2] No such file or directory: '"),
        (f"ssl:0:privateKey={__file__}:certKey={__file__}", "the files of the key and the certificate must be PEM"),
        ("tls:6443", "there is no directory of certificates '6443', which tls: needs"),
        (r"tls:/none\:such:6443", "there is no directory of certificates '/none:such', which tls: needs"),
        ("systemd:domain=INET:index=0", "systemd passes no such socket"),
    ],
)
def test_the_error_for_a_wrong_endpoint_shows_how_to_write_an_endpoint(endpoint: str, reason: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each kind of endpoint raises its own errors
        listener(endpoint, Factory(), _Reactor())
    said = what_is_wrong(endpoint, raised.value)
    assert said.startswith(f"LISTEN {endpoint!r} can't be used: {reason}")
    assert said.endswith("; for example tcp:6006:interface=127.0.0.1 or ssl:6443:privateKey=key.pem:certKey=cert.pem")
