"""The server answers with DynamoDB's own protocol, and leaves nothing behind."""

import socket
import urllib.error
import urllib.request

import pytest

from gollem.cli.demo.dynamodb_local import NotFetched, tool
from tests.servers import dynamodb_local as servers


def test_it_answers_while_the_block_lasts() -> None:
    with servers.dynamodb_local() as endpoint:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(endpoint, timeout=5)
        assert b"dynamodb" in refused.value.read()
    port = int(endpoint.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("name", ["java", "mvn"])
def test_missing_tools_are_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NotFetched, match=f"{name} is missing: apt-get install default-jre-headless maven"):
        tool(name)
