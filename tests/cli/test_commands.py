"""The commands' own errors: one line that says what is wrong and what to do, status 1; 2 for usage; no traceback."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gollem.cli import main
from gollem.cli.advice import what_happened, what_to_do
from gollem.cli.failure import Failure
from gollem.cli.keys import write_secret
from gollem.cli.root import COMMANDS
from gollem_client.errors import ProviderFailed

NOBODY = "127.0.0.1:9"


@pytest.fixture
def gollem(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Runs `gollem` with these words in an environment without settings of its own."""
    for name in [name for name in os.environ if name.startswith("GOLLEM_")]:
        monkeypatch.delenv(name)

    def run(*words: str, **environment: str) -> Result:
        result = CliRunner().invoke(main, words, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_every_command_of_the_table_is_there_and_explains_itself(gollem) -> None:  # type: ignore[no-untyped-def]
    listed = gollem("--help").stdout
    for name, (_, purpose) in COMMANDS.items():
        assert f"{name}  " in listed
        assert purpose in listed
        assert gollem(name, "--help").exit_code == 0


def test_an_unknown_command_is_a_usage_error(gollem) -> None:  # type: ignore[no-untyped-def]
    assert gollem("frobnicate").exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["config", "--set", "server.port=99999"], "server.port: must be a whole number from 0 to 65535"),
        (["config", "--set", "server.prot=1"], "server.prot: there is no such setting"),
        (["config", "--config", "/nowhere/x.toml"], "/nowhere/x.toml: cannot be read"),
        (["config", "--port", "many"], "server.port"),
        (["serve", "--set", "market.fee_bps=10001"], "market.fee_bps"),
        (["ledger", "audit", "--data", "/nowhere"], "/nowhere/ledger.db"),
        (["balance"], "no API key"),
        (["balance", "--key-file", "/nowhere/key"], "/nowhere/key: cannot be read as a key"),
    ],
)
def test_a_failure_is_one_line_and_status_1(gollem, words: list[str], said: str) -> None:  # type: ignore[no-untyped-def]
    result = gollem(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("gollem: ")
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["config", "--set", "server.port"],
        ["quote"],
        ["quote", "--model", "m", "--policy", "luck"],
        ["quote", "--model", "m", "--weights", "1:2"],
        ["quote", "--model", "m", "--max-latency", "0"],
        ["generate", "--model", "m"],
        ["keys", "create", "--account", "a", "--role", "king"],
    ],
)
def test_wrong_usage_is_status_2(gollem, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert gollem(*words, GOLLEM_API_KEY="k").exit_code == 2


@pytest.mark.parametrize(
    "words", [["balance"], ["transactions"], ["book"], ["quote", "--model", "m"], ["generate", "hi", "--model", "m"]]
)
def test_no_exchange_is_said_with_its_address(gollem, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    result = gollem(*words, "--server", NOBODY, GOLLEM_API_KEY="k")
    assert result.exit_code == 1
    assert NOBODY in result.stderr
    assert "gollem serve" in result.stderr


def test_a_key_is_never_an_option() -> None:
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        options = [option for parameter in command.params for option in parameter.opts]
        assert not {"--key", "--api-key"} & set(options)


def test_models_shows_the_catalogue_and_asks_no_exchange(gollem) -> None:  # type: ignore[no-untyped-def]
    shown = gollem("models").stdout
    assert "meta-llama/Llama-3.1-8B-Instruct" in "".join(shown.split())
    narrow = gollem("models", COLUMNS="80").stdout
    assert max(map(len, narrow.splitlines())) <= 80
    [gpt] = [row for row in json.loads(gollem("models", "--json").stdout) if row["model"] == "gpt-3"]
    assert gpt == {
        "model": "gpt-3",
        "aliases": ["gpt3"],
        "multiplier": "1",
        "context_tokens": 4096,
        "reference_usd_per_mtok": "250.00",
        "reference_latency_ms": 500.0,
        "reference_throughput_tps": 60.0,
    }
    assert gollem("models", "--set", "market.catalogue=/nowhere").exit_code == 1


@pytest.mark.parametrize(
    ("message", "shown"),
    [("what", "what. Do."), ("what?", "what? Do."), ("what.", "what. Do."), ("log:\n  x\n", "log:\n  x\nDo.")],
)
def test_advice_follows_a_sentence(message: str, shown: str) -> None:
    assert Failure(message, "Do.").message == shown


def failed(**more: Any) -> ProviderFailed:
    return ProviderFailed("provider c: it failed (Z)", tried=(("a", "X"), ("b", "Y"), ("c", "Z")), **more)


def test_providers_that_failed_are_all_named_with_why() -> None:
    assert what_happened(failed()) == "provider c: it failed (Z); tried a (X), b (Y), c (Z)"
    one = ProviderFailed("provider a: it failed (X)", tried=(("a", "X"),))
    assert what_happened(one) == "provider a: it failed (X)"
    assert "Nothing is charged" in what_to_do(failed())
    assert "is paid for" in what_to_do(failed(text="half an"))


def test_config_shows_what_wins(gollem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "exchange.toml"
    file.write_text("[server]\nport = 1111\nburst = 7\n")
    shown = gollem(
        "config", "--config", str(file), "--set", "server.port=3333", "--json", GOLLEM_SERVER_BURST="8"
    ).stdout
    assert '"server.port": 3333' in shown
    assert '"server.burst": 8' in shown


def test_the_address_of_a_server_is_no_setting(gollem) -> None:  # type: ignore[no-untyped-def]
    assert gollem("config", GOLLEM_SERVER="127.0.0.1:1").exit_code == 0


def test_a_secret_is_written_for_its_owner_alone_and_never_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    write_secret(file, "s3cret")
    assert file.read_text() == "s3cret\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(click.ClickException, match="File exists"):
        write_secret(file, "other")
    assert file.read_text() == "s3cret\n"
