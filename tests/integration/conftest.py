"""Daemons that end with their test, and disks that can be full."""

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jobengine.client import JobEngine, Queue
from tests.machine_allows import SMALL_DISK, require
from tests.torture import disks

from . import node
from .daemons import Daemon
from .db_files import Db, make_db
from .shells import ADMIN_KEY, KEY, Shell

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Makes a Daemon in a directory of the given name, without starting it."""
    made: list[Daemon] = []

    def make(name: str = "home", **more: Any) -> Daemon:
        made.append(Daemon(tmp_path / name, **more))
        return made[-1]

    yield make
    for daemon in made:
        daemon.kill()


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """A started daemon."""
    return make_daemon().start()


@pytest.fixture
def db(tmp_path: Path) -> Db:
    """Runs `jobengine db` beside a database with three jobs, which no server uses."""
    return make_db(tmp_path / "files")


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests of a module, with an admin key."""
    daemon = Daemon(tmp_path_factory.mktemp("shared") / "home", settings={"ADMIN_KEY": ADMIN_KEY}).start()
    yield daemon
    daemon.kill()


@pytest.fixture
def shell(shared_daemon: Daemon, tmp_path: Path) -> Shell:
    """Runs command lines; the queues `mail` and `thumbnails` are empty."""
    shell = Shell(shared_daemon, tmp_path)
    shell.make_queues("mail", "thumbnails")
    return shell


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A directory with room for 2 MiB."""
    require(SMALL_DISK)
    with disks.small_disk(2 << 20) as path:
        yield path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A directory with key.pem and cert.pem of a server on localhost."""
    make_certificate(tmp_path)
    return tmp_path


def make_certificate(path: Path) -> None:
    """Make key.pem and a self-signed cert.pem for a server on localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages for Node.js that tests use."""
    return node.install()


@pytest.fixture
def url(daemon: Daemon) -> str:
    return f"http://127.0.0.1:{daemon.port}"


@pytest.fixture
def engine(url: str) -> Iterator[JobEngine]:
    with JobEngine(url, access_key="key", timeout=20) as engine:
        engine.queue("q").create()
        yield engine


@pytest.fixture
def queue(engine: JobEngine) -> Queue:
    return engine.queue("q")


@pytest.fixture
def secure(make_daemon: MakeDaemon, certificate: Path) -> Daemon:
    """A daemon that listens with TLS as the README says."""
    listen = f"ssl:0:interface=127.0.0.1:privateKey={certificate}/key.pem:certKey={certificate}/cert.pem"
    daemon = make_daemon(settings={"LISTEN": listen})
    daemon.launch()
    return daemon


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    """The TLS context of clients that trust the daemon `secure`."""
    return ssl.create_default_context(cafile=certificate / "cert.pem")


@pytest.fixture
def mail(daemon: Daemon) -> Iterator[Queue]:
    """A client of the queue that the pages of docs use, with their key."""
    with JobEngine(f"http://127.0.0.1:{daemon.port}", access_key=KEY) as engine:
        queue = engine.queue("mail")
        queue.create()
        yield queue
