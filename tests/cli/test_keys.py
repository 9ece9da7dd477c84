"""`gollem keys` where the keys are in a folder and where they are in DynamoDB, and keys that sign grants."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gollem.cli import main
from gollem.rpc import GrantSigner


@pytest.fixture
def gollem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **environment: str) -> Result:
        return CliRunner().invoke(main, ["keys", *words], env=environment)

    return run


def test_keys_of_a_table_are_made_listed_and_revoked(gollem, dynamodb_endpoint: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    there = f"dynamodb://keys-of-{tmp_path.name}?endpoint={dynamodb_endpoint}&region=eu-west-1"
    missing = gollem("list", "--keys", there)
    assert (missing.exit_code, "`gollem keys table` makes it" in missing.stderr) == (1, True)
    assert "made, on demand" in gollem("table", "--keys", there).stdout
    in_environment = {"GOLLEM_STORAGE_KEYS": there}
    made = json.loads(gollem("create", "--account", "alice", "--role", "consumer", "--json", **in_environment).stdout)
    (listed,) = json.loads(gollem("list", "--json", **in_environment).stdout)
    assert (listed["key_id"], listed["account"], listed["revoked_at_ms"]) == (made["key_id"], "alice", None)
    assert "is revoked" in gollem("revoke", made["key_id"], "--keys", there).stdout
    (listed,) = json.loads(gollem("list", "--json", "--keys", there).stdout)
    assert listed["revoked_at_ms"]
    assert json.loads(gollem("list", "--json").stdout) == [], "the folder's own are others"
    assert gollem("revoke", "0" * 16, "--keys", there).exit_code == 1


def test_keys_of_a_folder_are_taken_over(gollem, dynamodb_endpoint: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("gollem.identity.sqlite_store.MAX_LISTED", 2)
    there = f"dynamodb://copy-of-{tmp_path.name}?endpoint={dynamodb_endpoint}&region=eu-west-1"
    gollem("table", "--keys", there)
    made = [gollem("create", "--account", name, "--role", "consumer", "--json").stdout for name in "abcde"]
    assert gollem("copy", "--to", there).stdout == "5 keys or revocations taken over\n"
    gollem("revoke", json.loads(made[2])["key_id"])
    assert gollem("copy", "--to", there).stdout == "1 keys or revocations taken over\n"
    listed = json.loads(gollem("list", "--json", "--keys", there).stdout)
    assert [(key["account"], bool(key["revoked_at_ms"])) for key in listed] == [(n, n == "c") for n in "abcde"]
    assert gollem("copy", "--to", there, "--keys", there).exit_code == 1


def test_what_is_no_table_is_said(gollem) -> None:  # type: ignore[no-untyped-def]
    assert "--keys dynamodb://" in gollem("table").stderr
    assert "storage.keys: 'redis://x' is no table" in gollem("list", "--keys", "redis://x").stderr


def test_a_key_for_grants_is_new_each_time_or_the_folders(gollem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    one, other = gollem("grant").stdout.strip(), gollem("grant").stdout.strip()
    assert len(GrantSigner.open(Path("/nowhere"), f"{one},{other}").public_keys) == 2
    assert "grant.key: No such file" in gollem("grant", "--existing", "--data", str(tmp_path)).stderr
    kept = GrantSigner.open(tmp_path / "grant.key")
    text = gollem("grant", "--existing", "--data", str(tmp_path)).stdout.strip()
    assert GrantSigner.open(Path("/nowhere"), text).names == kept.names
