"""Clients of others, each written from proto/ or reflection alone, against a real server process."""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop import document, tools

CLIENT = Path(__file__).parent / "grpcio_client.py"
_COMMAND_S = 20
_SERVICES = {"MarketService", "ProviderService", "CreditService", "PayoutService", "AdminService"}


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, object]:
        parsed: dict[str, object] = json.loads(self.output)
        return parsed


@dataclass(frozen=True)
class Shell:
    """A reader's terminal: `gollem` and `grpcurl` on the path, the keys in the environment, a server at `address`."""

    folder: Path
    address: str
    environment: dict[str, str]

    async def run(self, command: Sequence[str] | str, **environment: str) -> Ran:
        """To its end; text as a shell runs it."""
        words = ["bash", "-c", command] if isinstance(command, str) else list(command)
        process = await self._start(words, environment)
        try:
            async with asyncio.timeout(_COMMAND_S):
                output, errors = await process.communicate()
        except TimeoutError:
            await _end(process)
            raise
        return Ran(process.returncode or 0, output.decode(), errors.decode())

    @asynccontextmanager
    async def running(self, command: str) -> AsyncIterator[str]:
        """What a command without end first says; it is ended on the way out."""
        process = await self._start(["bash", "-c", command], {})
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_COMMAND_S):
                said = b""
                while not said.endswith(b"\n}\n"):
                    line = await process.stdout.readline()
                    assert line, f"{command} has ended: {said.decode()}"
                    said += line
            yield said.decode()
        finally:
            await _end(process)

    async def grpcurl(self, key: str, request: str, *words: str) -> Ran:
        authorization = f"authorization: Bearer {self.environment[key]}"
        command = ["grpcurl", "-plaintext", "-H", authorization, "-d", request, self.address, *words]
        return await self.run(command)

    async def _start(self, words: list[str], environment: dict[str, str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *words,
            cwd=self.folder,
            env=self.environment | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """The command and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()


@pytest.fixture(scope="module")
def grpcurl() -> Path:
    """Built before any clock of a test runs."""
    return tools.grpcurl()


@pytest.fixture
async def shell(tmp_path: Path, grpcurl: Path) -> AsyncIterator[Shell]:
    path = os.pathsep.join([str(grpcurl.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GOLLEM_")}
    environment = clean | {"PATH": path, "PYTHONPATH": str(tools.REPOSITORY)}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gollem", "serve", "--set", "server.port=0", "--payments", "local",
        "--set", "bridge.port=0", "--set", "server.metrics_port=0",
        # Nobody reports here, and tools may take their time.
        "--set", "providers.withdraw_after_ms=100000",
        cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        address = await _address(server)
        yield Shell(tmp_path, address, environment | await _keys(tmp_path, environment))
    finally:
        server.terminate()
        log = (await server.communicate())[1]
    assert server.returncode == 0
    assert b"Traceback" not in log, log.decode()


async def _address(server: asyncio.subprocess.Process) -> str:
    """From the line in which the server says where it listens."""
    assert server.stderr is not None
    while line := await server.stderr.readline():
        if line.startswith(b"listening on "):
            return line.split()[-1].decode()
    raise AssertionError("the server did not start")


async def _keys(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """The document's own lines, run where it says; what they put into the environment."""
    lines = document.key_commands()
    names = [re.match(r"export (\w+)=", line)[1] for line in lines]  # type: ignore[index]
    shown = [f'echo "${name}"' for name in names]
    made = await Shell(folder, "", environment).run("\n".join(["set -e", *lines, *shown]))
    assert made.status == 0, made.errors
    keys = dict(zip(names, made.output.split(), strict=True))
    assert set(keys) == {"GOLLEM_API_KEY", "GOLLEM_PROVIDER_KEY", "GOLLEM_OPERATOR_KEY"}
    return keys


async def _fund(shell: Shell) -> None:
    request = '{"grant_id": "g", "account": "alice", "amount": "1000"}'
    assert (await shell.grpcurl("GOLLEM_OPERATOR_KEY", request, "gollem.v1.AdminService/GrantCredits")).status == 0


async def _sell(shell: Shell) -> Ran:
    request = {
        "provider_id": "p1", "ask_id": "a", "model": "gpt4", "gpu_type": "h100", "price": "0.001", "latency_ms": 100,
        "throughput_tps": 80, "capacity_tokens": 100_000, "capacity_slots": 4, "endpoint": "127.0.0.1:9",
    }  # fmt: skip
    return await shell.grpcurl("GOLLEM_PROVIDER_KEY", json.dumps(request), "gollem.v1.ProviderService/Register")


async def test_grpcurl_finds_everything_by_reflection(shell: Shell) -> None:
    listed = (await shell.run(["grpcurl", "-plaintext", shell.address, "list"])).output.split()
    assert {f"gollem.v1.{name}" for name in _SERVICES} | {"grpc.health.v1.Health"} <= set(listed)
    for service in sorted(_SERVICES):
        methods = (await shell.run(["grpcurl", "-plaintext", shell.address, "list", f"gollem.v1.{service}"])).output
        assert methods.split()
        for name in [f"gollem.v1.{service}", *methods.split()]:
            described = await shell.run(["grpcurl", "-plaintext", shell.address, "describe", name])
            assert described.status == 0
            assert name in described.output


async def test_grpcurl_registers_matches_and_reads_the_balance(shell: Shell) -> None:
    await _fund(shell)
    assert (await _sell(shell)).json["model"] == "gpt-4"
    request = '{"order_id": "o1", "bid": {"model": "gpt-4", "prompt_tokens": 100, "max_tokens": 100}}'
    matched = (await shell.grpcurl("GOLLEM_API_KEY", request, "gollem.v1.MarketService/Match")).json
    assert (matched["held"], matched["available"]) == ("200.00000000", "800.00000000")
    balance = (await shell.grpcurl("GOLLEM_API_KEY", "{}", "gollem.v1.CreditService/Balance")).json
    assert (balance["available"], balance["held"]) == ("800.00000000", "200.00000000")


async def test_errors_are_readable_in_grpcurl(shell: Shell) -> None:
    await _sell(shell)
    request = '{"order_id": "o1", "bid": {"model": "gpt-4", "prompt_tokens": 100, "max_tokens": 100}}'
    refused = await shell.grpcurl("GOLLEM_API_KEY", request, "gollem.v1.MarketService/Match")
    assert refused.status != 0
    for text in ("FailedPrecondition", "google.rpc.ErrorInfo", "INSUFFICIENT_CREDITS", '"needed"', '"200.00000000"'):
        assert text in refused.errors
    request = request.replace("gpt-4", "gpt-5")
    refused = await shell.grpcurl("GOLLEM_API_KEY", request, "gollem.v1.MarketService/Match")
    for text in ("NotFound", "UNKNOWN_MODEL", "did you mean gpt-4"):
        assert text in refused.errors


async def test_every_command_of_the_document_works_as_pasted(shell: Shell) -> None:
    found = list(document.commands(shell.address))
    assert len(found) > 20
    assert not any(document.ADDRESS in command.text for command in found)
    keeping = []
    try:
        for command in found:
            if command.mark == "keep":
                said = shell.running(command.text)
                assert "{" in await said.__aenter__()
                keeping.append(said)
                continue
            ran = await shell.run(command.text)
            assert (ran.status == 0) is (command.mark != "fails"), (command.text, ran)
            assert command.mark != "fails" or "ErrorInfo" in ran.errors, (command.text, ran)
    finally:
        for said in keeping:
            await said.__aexit__(None, None, None)


async def test_the_document_installs_the_grpcurl_that_is_tested_here() -> None:
    assert tools.GRPCURL in document.DOCUMENT.read_text()


async def test_the_grpcio_client(shell: Shell) -> None:
    await _fund(shell)
    keys = [shell.environment["GOLLEM_API_KEY"], shell.environment["GOLLEM_PROVIDER_KEY"]]
    words = [sys.executable, str(CLIENT), shell.address, *keys, "p1", "gpt4", "h100", "o1"]
    ran = await shell.run(words)
    assert ran.status == 0, ran
    answers = json.loads(ran.output)
    assert answers["register"]["model"] == "gpt-4"
    assert [answer["known"] for answer in answers["telemetry"]] == [True] * 3
    assert answers["before"]["available"] == "1000.00000000"
    assert answers["match"]["offer"]["provider_id"] == "p1"
    assert (answers["after"]["available"], answers["after"]["held"]) == ("800.00000000", "200.00000000")
    refused = await shell.run([*words[:3], "nobody", *words[4:]])
    assert (refused.status, refused.json["code"]) == (1, "UNAUTHENTICATED")


async def test_the_grpc_js_client(shell: Shell) -> None:
    await _fund(shell)
    await _sell(shell)
    command = [*tools.grpc_js(), shell.address, shell.environment["GOLLEM_API_KEY"]]
    environment = tools.grpc_js_environment()
    node = {name: environment[name] for name in ("NODE_PATH", "GOLLEM_PROTO")}
    request = {"orderId": "js", "bid": {"model": "gpt-4", "promptTokens": 100, "maxTokens": 100}}
    ran = await shell.run([*command, json.dumps(request)], **node)
    assert ran.status == 0, ran
    answer = json.loads(ran.output)
    assert (answer["held"], answer["offer"]["providerId"]) == ("200.00000000", "p1")
    request["bid"] = {"model": "gpt-4", "promptTokens": 100, "maxTokens": 99}
    refused = await shell.run([*command, json.dumps(request)], **node)
    assert (refused.status, refused.json["code"]) == (1, 6), "ALREADY_EXISTS"


def test_a_missing_tool_is_told_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loudly: these tests fail where a tool is not there, and say which."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_CACHE", tmp_path)
    with pytest.raises(tools.ToolMissing, match="go is needed"):
        tools.grpcurl()
    with pytest.raises(tools.ToolMissing, match="node is needed"):
        tools.grpc_js()


def test_commands_are_found_one_by_one() -> None:
    for command in document.commands("127.0.0.1:1"):
        if command.mark != "keep":
            assert shlex.split(command.text)[0] == "grpcurl"
            assert command.text.count("grpcurl -plaintext") == 1
