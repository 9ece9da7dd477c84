"""Every command of clients/http.md and of the README works as pasted."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gollem.identity import Role
from tests.fakes.provider import FakeProvider
from tests.gateway.conftest import Client, Person
from tests.interop import document
from tests.interop.tools import REPOSITORY

HTTP = REPOSITORY / "clients" / "http.md"
README = REPOSITORY / "README.md"
ADDRESS = "127.0.0.1:8090"
_S = 30


async def run(command: str, environment: dict[str, str]) -> tuple[int, str]:
    """Its exit status, and what it says."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), _S)
    return process.returncode or 0, said.decode()


@pytest.fixture
async def reader(client: Client) -> AsyncIterator[dict[str, str]]:
    """The environment of somebody who has done what http.md says of keys; `swift` sells, `alice` has credits."""
    swift = Person("swift", await client.key("swift", Role.PROVIDER))
    provider = FakeProvider("swift")
    await provider.start()
    await client.sell(swift, endpoint=provider.endpoint, model="smollm2-135m", gpu_type="cpu", capacity_slots=16)
    await client.fund("alice", "1000")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "GOLLEM_STORAGE_DATA": str(client.place.data)}
    lines = document.key_commands(HTTP)
    names = [re.match(r"export (\w+)=", line)[1] for line in lines]  # type: ignore[index]
    made = "\n".join(["set -e", *lines, *[f'echo "{name}=${name}"' for name in names]])
    status, said = await run(made, environment)
    assert status == 0, said
    keys = dict(line.split("=", 1) for line in said.splitlines() if line.startswith("GOLLEM_"))
    assert set(keys) == {"GOLLEM_API_KEY", "GOLLEM_PROVIDER_KEY"}
    yield environment | keys
    await provider.stop()


async def test_every_command_works_as_pasted(client: Client, reader: dict[str, str]) -> None:
    place = f"127.0.0.1:{client.place.port}"
    found = [*document.commands(place, HTTP, ADDRESS), *document.commands(place, README, ADDRESS)]
    assert len(found) > 25
    for command in found:
        status, said = await run(command.text, reader)
        assert (status == 0) is (command.mark != "fails"), (command.text, said)
        assert command.mark != "fails" or '"reason":' in said, (command.text, said)
        if "/api/generate" in command.text:
            assert '"text":"Hel"' in said


def test_every_route_is_in_the_document() -> None:
    written = HTTP.read_text()
    routes = re.findall(r'(?:get|post): "(/api/[^"]+)"', "".join(f.read_text() for f in _protos()))
    assert len(routes) > 15
    assert [route for route in routes if route not in written] == []


def _protos() -> list[Path]:
    return sorted((REPOSITORY / "proto" / "gollem").rglob("*.proto"))
