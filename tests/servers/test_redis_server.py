"""The servers answer while their block lasts, and leave nothing behind."""

import socket

import pytest

from tests.servers import redis_server as servers


def test_it_answers_while_the_block_lasts() -> None:
    with servers.redis_server() as server:
        assert server.ask("ping") == "PONG"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_it_comes_back_empty() -> None:
    with servers.redis_server() as server:
        server.ask("set", "key", "value")
        server.kill()
        server.start()
        servers.wait_for(lambda: server.ask("ping") == "PONG", "an answer")
        assert server.ask("get", "key") == ""


def test_a_missing_server_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with (
        pytest.raises(RuntimeError, match="redis-server is missing: apt-get install redis-server"),
        servers.redis_server(),
    ):
        pass
