"""`gollem config check`: every fault at once, each with its key; no secret; nothing made."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gollem.cli import main

SECRET = "rk_test_very-secret"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GOLLEM_")]:
        monkeypatch.delenv(name)


def check(data: Path, *words: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ["config", "check", "--data", str(data / "new"), *words], env=environment)


def keys_of(result: Result) -> list[str]:
    """What each fault is about."""
    return [line.removeprefix("gollem: ").partition(":")[0] for line in result.stderr.splitlines()]


def test_good_settings(tmp_path: Path) -> None:
    result = check(tmp_path, environment={"COLUMNS": "300"})  # wide enough for any folder
    assert result.exit_code == 0
    assert result.stderr == "nothing is wrong with these settings\n"
    assert f"{tmp_path}/new" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_everything_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gollem.toml"
    file.write_text("[server]\nprot = 1\nport = 99999\n[nodes]\nforget_ms = 1000\n")
    words = ("--config", str(file), "--payments", "stripe", "--set", "market.fee_bps=x", "--ledger", "postgres://x")
    result = check(tmp_path, *words)
    assert result.exit_code == 1
    assert keys_of(result) == [
        "server.prot", "server.port", "market.fee_bps", "nodes.forget_ms", "storage.ledger",
        "payments.stripe_key", "payments.webhook_secrets", "payments.connect_secrets",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (("--ledger", "dynamodb://"), "storage.ledger", "is no table"),
        (("--ledger", "sqlite://"), "storage.ledger", "is no ledger"),
        (("--ledger", "dynamodb://[a"), "storage.ledger", "is no table"),
        (("--keys", "dynamodb://a/b"), "storage.keys", "is no table"),
        (("--keys", "dynamodb://[a"), "storage.keys", "is no table"),
        (("--keys", "dynamodb://a?regoin=eu-west-1"), "storage.keys", "is no table"),
        (("--set", "storage.grant_keys=c2hvcnQ"), "storage.grant_keys", "key 1 must be 32 bytes"),
        (("--ledger", "memory:", "--book", "http://x"), "nodes.book", "must begin with redis"),
        (("--ledger", "dynamodb://x", "--book", "redis://x", "--payments", "local"), "payments.gateway", "development"),
        (("--port", "8080"), "bridge.port", "that of server.port"),
        (("--set", "market.catalogue=/nowhere"), "market.catalogue", "/nowhere"),
        (
            ("--set", "gateway.certificate=/no", "--set", "gateway.private_key=/dev/null"),
            "gateway.certificate",
            "cannot be read",
        ),
        (("--set", "gateway.certificate=/no"), "gateway.certificate and gateway.private_key", "each needs the other"),
        (
            ("--set", "observability.otlp=localhost:4318"),
            "observability.otlp",
            "must be a URL such as http://127.0.0.1:4318/v1/traces",
        ),
        (("--payments", "stirpe"), "payments.gateway", "must be one of"),
        (("--config", "/nowhere"), "/nowhere", "cannot be read"),
    ],
)
def test_one_fault(tmp_path: Path, words: tuple[str, ...], key: str, said: str) -> None:
    result = check(tmp_path, *words)
    assert result.exit_code == 1
    assert keys_of(result) == [key]
    assert said in result.stderr


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("--ledger", f"sqlite://{tmp_path}/file/x/ledger.db", "--set", f"reconcile.seal_copy={tmp_path}/new/seals")
    result = check(tmp_path, *words)
    assert keys_of(result) == ["storage.ledger", "reconcile.seal_copy"]
    assert f"{tmp_path}/file is no folder" in result.stderr


def test_one_ledger_file_is_not_for_several_servers(tmp_path: Path) -> None:
    assert keys_of(check(tmp_path, "--book", "redis://x")) == ["storage.ledger"]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    names = ("STRIPE_KEY", "WEBHOOK_SECRETS", "CONNECT_SECRETS")
    environment = {f"GOLLEM_PAYMENTS_{name}": SECRET for name in names} | {
        "GOLLEM_NODES_BOOK": f"redis+x://:{SECRET}@x"
    }
    result = check(tmp_path, "--payments", "stripe", "--ledger", "memory:", environment=environment)
    assert keys_of(result) == ["nodes.book"]
    assert SECRET not in result.output
    assert result.stdout.count("(set)") == 4


@pytest.mark.parametrize("key", [SECRET, "sk_live_x", "pk_live_x sk_live_x", "pk_other_x"])
def test_what_the_dashboard_shows_to_everybody_is_no_secret_key(tmp_path: Path, key: str) -> None:
    result = check(tmp_path, environment={"GOLLEM_PAYMENTS_STRIPE_PUBLISHABLE_KEY": key})
    assert keys_of(result) == ["payments.stripe_publishable_key"]
    assert key not in result.output
    assert check(tmp_path, "--set", "payments.stripe_publishable_key=pk_test_51AbC").exit_code == 0


def test_a_library_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gollem.cli.config_check.find_spec", lambda name: None)
    result = check(tmp_path, "--ledger", "dynamodb://x", "--book", "redis://x")
    assert keys_of(result) == ["storage.ledger", "nodes.book"]
    assert "pip install 'gollem[redis]'" in result.stderr


def test_a_variable_that_looks_like_a_setting_is_told_and_not_refused(tmp_path: Path) -> None:
    strange = {"GOLLEM_STORGE_KEYS": SECRET, "GOLLEM_DATA": SECRET, "GOLLEM_QQ": SECRET}
    own = dict.fromkeys(("GOLLEM_API_KEY", "GOLLEM_SERVER", "GOLLEM_UPSTREAM_API_KEY"), SECRET)
    result = check(tmp_path, environment=strange | own | {"GOLLEM_SERVER_HOST": "127.0.0.2"})
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "gollem: warning: GOLLEM_DATA is no setting and changes nothing; did you mean GOLLEM_STORAGE_DATA?",
        "gollem: warning: GOLLEM_QQ is no setting and changes nothing",
        "gollem: warning: GOLLEM_STORGE_KEYS is no setting and changes nothing; did you mean GOLLEM_STORAGE_KEYS?",
        "nothing is wrong with these settings",
    ]
    assert SECRET not in result.output


def test_options_before_the_command_are_not_overlooked(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["config", "--data", str(tmp_path), "check"])
    assert result.exit_code == 2
    assert "after `check`" in result.output
