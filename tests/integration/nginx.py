"""The real nginx in front of a daemon."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from .daemons import until
from .documents import at_port, blocks

#: The least configuration: where it listens, and the server behind it.
AS_IT_COMES = "server { listen 127.0.0.1:443; location / { proxy_pass http://127.0.0.1:6006; } }"
#: The paths of nginx's files, so that a test leaves none behind; they do not change how nginx handles requests.
_FRAME = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {servers}
}}
"""


def as_documented(certificate: Path) -> str:
    """The configuration in the page on proxies, with a certificate of ours."""
    (servers,) = blocks("docs/behind-a-proxy.md", "nginx")
    for name in ("key", "pem"):
        ours = certificate / {"key": "key.pem", "pem": "cert.pem"}[name]
        servers = servers.replace(f"/etc/ssl/private/jobs.example.org.{name}", str(ours))
    return servers.replace("listen 443", "listen 127.0.0.1:443")


@contextmanager
def nginx(home: Path, servers: str, port: int, behind: int) -> Iterator[Path]:
    """nginx on `port` in front of the daemon at the port `behind`; yields the file with its errors."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program is not None, "this test needs nginx"
    home.mkdir()
    servers = at_port(servers, behind)
    servers, listens = re.subn(r"127\.0\.0\.1:443\b", f"127.0.0.1:{port}", servers)
    assert listens == 1
    (home / "nginx.conf").write_text(_FRAME.format(home=home, servers=servers))
    process = subprocess.Popen([program, "-c", home / "nginx.conf", "-e", home / "error.log"])
    try:
        until("nginx listens", lambda: _answers(port) or process.poll() is not None)
        assert process.poll() is None, (home / "error.log").read_text()
        yield home / "error.log"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()
    return True
