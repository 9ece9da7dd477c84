"""The server answers with DynamoDB's own protocol, and leaves nothing behind."""

import socket
import urllib.error
import urllib.request

import pytest

from gollem.cli.demo.dynamodb_local import NotFetched, tool
from tests.servers import dynamodb_local as servers


def test_it_answers_while_the_block_lasts_unless_it_stands_still() -> None:
    with servers.dynamodb_server() as server:
        assert b"dynamodb" in _answer(server.endpoint)
        server.freeze()
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(server.endpoint, timeout=0.2)
        server.thaw()
        assert b"dynamodb" in _answer(server.endpoint)
    port = int(server.endpoint.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def _answer(endpoint: str) -> bytes:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(endpoint, timeout=5)
    return refused.value.read()


@pytest.mark.parametrize("name", ["java", "mvn"])
def test_missing_tools_are_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NotFetched, match=f"{name} is missing: apt-get install default-jre-headless maven"):
        tool(name)
