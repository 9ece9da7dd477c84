"""The mock answers as Stripe would, and leaves nothing behind."""

import socket
import urllib.error
import urllib.request

import pytest

from tests.servers import stripe_mock as servers


def test_it_answers_while_the_block_lasts() -> None:
    with servers.stripe_mock() as url:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/v1/balance", timeout=5)
        assert b"Please authenticate" in refused.value.read()
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_missing_go_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(servers, "_version", lambda: "never-built")
    with pytest.raises(RuntimeError, match="go is missing: apt-get install golang-go"):
        servers.build()
