"""deploy/compose/compose.yaml against the settings it gives, the ports it opens, and the image it builds."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from gollem.config import Config, load
from tests.deploy import dockerfile

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/compose"


@cache
def services() -> dict[str, dict[str, Any]]:
    """With their shared parts, as YAML merges them."""
    read: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return read


def image() -> dockerfile.Stage:
    return dockerfile.read(ROOT / "Dockerfile")[-1]


def environment(service: str) -> dict[str, str]:
    """What the process sees: the image's, then the service's own."""
    return image().environment() | services()[service].get("environment", {})


def config(service: str) -> Config:
    """As the process reads it; raises ConfigError for what is no setting, or breaks its rule."""
    return load(environment=environment(service))


def opened(service: str) -> dict[str, int]:
    """Port on this machine -> port in the container."""
    found = [text.rpartition(":") for text in services()[service].get("ports", ())]
    return {host: int(inner) for host, _, inner in found}


@pytest.mark.parametrize("service", ["tables", "exchange", "gateway"])
def test_settings_are_good(service: str) -> None:
    given = {name for name in environment(service) if name.startswith("GOLLEM_")}
    assert given
    assert config(service) != Config()


def test_ports_are_those_that_are_listened_to() -> None:
    exchange, gateway = config("exchange"), config("gateway")
    assert opened("exchange") == {"127.0.0.1:50051": exchange.server.port}
    assert opened("gateway") == {"127.0.0.1:8090": gateway.gateway.listen_address().port}
    exposed = {int(word) for word in image().last("EXPOSE").words}
    assert exposed == {
        exchange.server.port, exchange.server.metrics_port, exchange.bridge.port,
        gateway.gateway.listen_address().port,
    }  # fmt: skip


def test_services_find_each_other() -> None:
    """The names in addresses are services, and their ports those of the others."""
    [exchange], bridge = config("gateway").gateway.exchanges(), config("gateway").gateway.bridge_address()
    assert (exchange.host, exchange.port) == ("exchange", config("exchange").server.port)
    assert (bridge.host, bridge.port) == ("exchange", config("exchange").bridge.port)
    assert config("exchange").nodes.book == "redis://redis:6379"
    assert config("tables").storage == config("exchange").storage
    assert "endpoint=http://dynamodb:8000" in config("exchange").storage.ledger
    assert "endpoint=http://dynamodb:8000" in config("exchange").storage.keys


def test_everything_is_for_this_machine_only() -> None:
    assert [port for name in services() for port in opened(name) if not port.startswith("127.0.0.1:")] == []


def test_every_service_is_confined() -> None:
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert {services()[name]["user"] for name in ("tables", "exchange", "gateway")} == {image().last("USER").text}


def test_an_exchange_may_finish_its_calls() -> None:
    stop_s = int(services()["exchange"]["stop_grace_period"].removesuffix("s"))
    assert stop_s * 1_000 > config("exchange").server.drain_timeout_ms


def test_files_that_are_mounted_are_there() -> None:
    mounts = [text for service in services().values() for text in service.get("volumes", ()) if text.startswith(".")]
    assert len(mounts) > 3
    assert [text for text in mounts if not (FOLDER / text.partition(":")[0]).exists()] == []


def test_prometheus_here_has_the_same_rules() -> None:
    here = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    there = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert [Path(name).name for name in here["rule_files"]] == there["rule_files"]
    assert here["scrape_configs"][0]["job_name"] == there["scrape_configs"][0]["job_name"]
    assert here["scrape_configs"][0]["static_configs"][0]["targets"] == [f"exchange:{Config().server.metrics_port}"]
