"""The private names of other packages that are used: if an upgrade removes one, a test fails and names it."""

import ast
from pathlib import Path

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.web import http
from twisted.web.http import HTTPChannel

SOURCE = Path(__file__).parents[1] / "jobengine"

#: The private names, and our files that use each.
CHANNEL = {
    # Bytes that came after the present request: they are parsed in the next reactor turn.
    "_buffer": "http/channel.py",
    "_dataBuffer": "http/channel.py",
    # Answers in our own form where Twisted would send an empty 400.
    "_respondToBadRequestAndDisconnect": "http/channel.py",
    # Dropped at the connection's end: it refers to the channel, and only the garbage collector could free both.
    "_transferDecoder": "http/channel.py",
}
#: Set on a request so that no form is parsed: forms are refused anyway.
REQUEST = {"_parsePOSTFormSubmission": "http/request.py"}
#: The bytes that wait in a transport.
TRANSPORT = {"_tempDataLen": "http/direct_write.py"}


@pytest.fixture
def channel() -> HTTPChannel:
    made = HTTPChannel()
    made.makeConnection(StringTransport())
    return made


@pytest.mark.parametrize("name", CHANNEL)
def test_twisteds_http_channel_has_each_private_name_that_the_server_uses(channel: HTTPChannel, name: str) -> None:
    assert hasattr(channel, name)


def test_the_buffers_of_twisteds_http_channel_have_the_expected_types(channel: HTTPChannel) -> None:
    assert (channel._dataBuffer, channel._buffer) == ([], b"")
    assert issubclass(HTTPChannel, LineReceiver)


@pytest.mark.parametrize("name", REQUEST)
def test_twisteds_request_has_each_private_name_that_the_server_uses(name: str) -> None:
    # It is set in __init__ and read by requestReceived.
    assert name in http.Request.__init__.__code__.co_names or hasattr(http.Request, name)


@pytest.mark.parametrize("name", TRANSPORT)
def test_twisteds_transport_has_each_private_name_that_the_server_uses(name: str) -> None:
    assert hasattr(FileDescriptor(MemoryReactor()), name)


def _own(tree: ast.AST) -> set[str]:
    """The private names that a file defines itself: methods, class attributes and assigned names."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
                own |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__attrs_post_init__", "connectionMade"):
            own |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and _is_stored(each)}
    return own


def _is_stored(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize(
    "path",
    [f"http/{name}.py" for name in ("channel", "direct_write", "request", "site", "stream")] + ["web/router.py"],
)
def test_the_server_uses_no_unlisted_private_name_of_twisted(path: str) -> None:
    tree = ast.parse((SOURCE / path).read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }
    listed = {name for name, where in {**CHANNEL, **REQUEST, **TRANSPORT}.items() if where == path}
    assert used - (_own(tree) - listed) == listed


def test_no_private_name_is_imported_from_another_package() -> None:
    found = [
        (file.name, alias.name)
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and not node.level
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert found == []
