"""What importing the client loads, counted in a process of its own."""

import subprocess
import sys

_SERVER = {"twisted", "klein", "nacl", "zope", "werkzeug", "attr", "attrs", "cryptography"}
_SERVER |= {"prometheus_client", "OpenSSL"}


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_client_imports_no_module_of_the_server_and_few_others() -> None:
    bare, loaded = _loaded(""), _loaded("import jobengine.client")
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & _SERVER
    ours = {name for name in loaded if name.startswith("jobengine.")}
    assert ours
    assert all(name.startswith("jobengine.client") for name in ours)
    # The slowest modules are not loaded unless they are used; inspect is, for msgspec, which reads answers.
    assert not loaded & {"asyncio", "ssl", "http.client", "email", "tomllib", "platformdirs", "logging"}
    assert len(loaded - bare - ours) < 120


def test_asyncio_is_imported_only_when_a_program_uses_the_asyncio_client() -> None:
    assert "asyncio" in _loaded("from jobengine.client import AsyncJobEngine")


def test_creating_a_client_and_a_queue_object_imports_no_further_large_module() -> None:
    code = "from jobengine.client import JobEngine\nJobEngine('http://127.0.0.1:1', access_key='k').queue('q')"
    assert not _loaded(code) & {"asyncio", "ssl", "tomllib", "platformdirs"}
