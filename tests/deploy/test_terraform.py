"""deploy/terraform against the code it is for: tables, actions, settings, commands of the book, figures of alarms.

That it is valid, OpenTofu says with the AWS provider itself: `make terraform-check`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import botocore.session
import hcl2
import pytest

from gollem.config import Config, describe, load
from gollem.identity import dynamodb_table
from gollem.ledger.dynamodb import table as ledger_table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/terraform"
# DynamoDB asks for the action of each part of a transaction, whatever call it comes in.
PARTS = {"Put": "PutItem", "Update": "UpdateItem", "ConditionCheck": "ConditionCheckItem", "Delete": "DeleteItem"}
# Made by Terraform instead: whoever runs `gollem ledger create` or `gollem keys table` has rights of his own.
MAKING = {"CreateTable", "UpdateTable", "UpdateContinuousBackups"}


@cache
def read() -> dict[str, Any]:
    """Every file as one: block type -> its blocks."""
    found: dict[str, Any] = {}
    for file in sorted(FOLDER.glob("*.tf")):
        for kind, blocks in hcl2.loads(file.read_text()).items():
            found.setdefault(kind, []).extend(blocks)
    return found


def plain(value: Any) -> Any:
    """Without the quotes and marks that the parser keeps."""
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.strip('"') if isinstance(value, str) else value


def resource(kind: str, name: str) -> dict[str, Any]:
    for block in plain(read()["resource"]):
        if name in block.get(kind, {}):
            return cast(dict[str, Any], block[kind][name])
    raise AssertionError(f"no {kind}.{name}")


def local(name: str) -> Any:
    return next(block[name] for block in plain(read()["locals"]) if name in block)


def keys(block: dict[str, Any]) -> dict[str, str]:
    """Of a table, or of an index: HASH and RANGE -> attribute."""
    schema = {key["key_type"]: key["attribute_name"] for key in block.get("key_schema", ())}
    named = {"HASH": block.get("hash_key"), "RANGE": block.get("range_key")}
    return schema | {kind: name for kind, name in named.items() if name}


def as_made(table: dict[str, Any]) -> dict[str, Any]:
    """A call of CreateTable, as far as Terraform says the same."""
    return {
        "keys": {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]},
        "attributes": {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]},
        "indexes": {
            index["IndexName"]: (
                {key["KeyType"]: key["AttributeName"] for key in index["KeySchema"]},
                index["Projection"]["ProjectionType"],
            )
            for index in table["GlobalSecondaryIndexes"]
        },
        "billing": table["BillingMode"],
        "stream": table.get("StreamSpecification", {}).get("StreamViewType"),
    }


def as_described(name: str) -> dict[str, Any]:
    table = resource("aws_dynamodb_table", name)
    return {
        "keys": keys(table),
        "attributes": {each["name"]: each["type"] for each in table["attribute"]},
        "indexes": {
            index["name"]: (keys(index), index["projection_type"]) for index in table["global_secondary_index"]
        },
        "billing": table["billing_mode"],
        "stream": table.get("stream_view_type"),
    }


class Recorder:
    """Stands where the vendor's client would be, to see what is asked of it."""

    table = "ledger"

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    async def try_once(self, operation: str, **arguments: Any) -> tuple[dict[str, Any], str]:
        self.asked[operation] = arguments
        active = {"TableStatus": "ACTIVE", "DeletionProtectionEnabled": True}
        return {"Table": self.asked["create_table"] | active | {"GlobalSecondaryIndexes": []}}, ""


async def test_the_ledgers_table_is_the_one_that_the_command_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(ledger_table, "_missing_indexes", lambda client, table: [])
    await ledger_table.create_table(recorder, stream=True)  # type: ignore[arg-type]
    assert as_described("ledger") == as_made(recorder.asked["create_table"])


def test_the_table_of_keys_is_the_one_that_the_command_makes() -> None:
    assert as_described("keys") == as_made(dynamodb_table._DESCRIPTION)


@pytest.mark.parametrize("name", ["ledger", "keys"])
def test_tables_are_protected(name: str) -> None:
    table = resource("aws_dynamodb_table", name)
    assert "var.protected" in table["deletion_protection_enabled"]
    assert table["point_in_time_recovery"] == [{"enabled": True}]
    assert table["server_side_encryption"] == [{"enabled": True}]


def actions_of(*folders: str) -> set[str]:
    """What the code asks of DynamoDB: names of the service's operations, and of the parts of transactions."""
    operations = {_snake(name): name for name in operation_names()}
    found = {text for folder in folders for text in texts(ROOT / folder)}
    asked = {operations[text] for text in found & set(operations)} | {PARTS[text] for text in found & set(PARTS)}
    asked -= MAKING
    if "TransactGetItems" in asked:
        asked |= {"GetItem"}
    return {f"dynamodb:{name}" for name in asked - {"TransactGetItems", "TransactWriteItems"}}


@cache
def operation_names() -> tuple[str, ...]:
    """By the vendor's own description of the service."""
    return tuple(botocore.session.get_session().get_service_model("dynamodb").operation_names)


def texts(place: Path) -> Iterator[str]:
    """Every literal text in the files of a folder, or in one file."""
    for file in [place] if place.is_file() else sorted(place.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_a_task_may_do_what_the_code_asks_of_the_tables_and_nothing_else() -> None:
    assert set(local("ledger_actions")) == actions_of("gollem/ledger/dynamodb")
    stores = ("gollem/identity/dynamodb_store.py", "gollem/identity/dynamodb_table.py")
    assert set(local("key_actions")) == actions_of(*stores)


def test_no_policy_allows_everything() -> None:
    """But for the one action that AWS allows on everything or not at all."""
    policies = [
        block["aws_iam_policy_document"] for block in plain(read()["data"]) if "aws_iam_policy_document" in block
    ]
    bodies = [body for policy in policies for body in policy.values()]
    dynamic = [one["statement"]["content"] for body in bodies for one in body.get("dynamic", ())]
    statements = [one for body in bodies for one in body["statement"]] + [one for each in dynamic for one in each]
    assert len(statements) > 6
    assert [one["actions"] for one in statements if "*" in "".join(one["actions"])] == []
    assert [one["actions"] for one in statements if one.get("resources") == ["*"]] == [["ecr:GetAuthorizationToken"]]


def test_nothing_else_asks_dynamodb() -> None:
    """Whoever imports the vendor is one of the two whose actions are compared."""
    importing = {
        file.parent.relative_to(ROOT).as_posix()
        for file in (ROOT / "gollem").rglob("*.py")
        if re.search(r"^\s*(?:import|from) aioboto3", file.read_text(), re.MULTILINE)
    }
    assert importing == {"gollem/ledger/dynamodb", "gollem/identity"}


def settings() -> dict[str, str]:
    """What tasks are given, with numbers that are computed from others left as 1."""
    text = (FOLDER / "service.tf").read_text()
    block = text.partition("settings = merge({")[2].partition("}, local.payment_form, var.settings)")[0]
    return dict(re.findall(r'^\s*"([a-z._]+)"\s*=\s*(.+)$', block, re.MULTILINE))


def test_settings_are_those_of_the_exchange() -> None:
    known = {key for key, _, _ in describe(Config())}
    secrets = set(re.findall(r'"([a-z]+\.[a-z_]+)"\s*=', (FOLDER / "secrets.tf").read_text()))
    assert len(settings()) > 10
    assert settings().keys() | secrets <= known
    assert {"nodes.book", "storage.grant_keys", "payments.stripe_key"} <= secrets
    forbidden = set(re.findall(r'"([a-z]+\.[a-z_]+)",', (FOLDER / "variables.tf").read_text()))
    assert forbidden == secrets
    literals = {
        key: value.strip('"') for key, value in settings().items() if value.startswith('"') and "$" not in value
    }
    assert load(overrides=literals).server.host == "0.0.0.0"


def test_the_dashboard_can_take_cards() -> None:
    assert "}, local.payment_form, var.settings)" in _service()
    form = re.search(r'payment_form = var.payments == "stripe" \? \{ "([a-z._]+)" = var\.(\w+) \}', _service())
    assert form
    assert form[1] in {key for key, _, _ in describe(Config())}
    assert f'variable "{form[2]}"' in (FOLDER / "variables.tf").read_text()


def _service() -> str:
    return (FOLDER / "service.tf").read_text()


def test_every_secret_of_the_exchange_is_kept_as_one() -> None:
    secret = {key for key, shown, _ in describe(_with_secrets()) if shown == "(set)"}
    kept = set(re.findall(r'"([a-z]+\.[a-z_]+)"\s*=', (FOLDER / "secrets.tf").read_text()))
    assert secret == kept


def _with_secrets() -> Config:
    return load(overrides={key: "x" for key, value, _ in describe(Config()) if value == ""} | _VALID)


# Settings of text that have a form.
_VALID = {
    "gateway.certificate": "",
    "gateway.private_key": "",
    "gateway.cors_origins": "",
    "payments.stripe_publishable_key": "",
    "observability.otlp": "",
}


def test_places_and_times_fit_each_other() -> None:
    defaults = Config()
    assert local("exchange_port") == defaults.server.port
    assert local("bridge_port") == defaults.bridge.port
    assert local("metrics_port") == defaults.server.metrics_port
    assert local("gateway_port") == defaults.gateway.listen_address().port
    # A balancer that keeps connections longer than Envoy would use some that were just closed.
    assert local("idle_timeout_s") * 1_000 < defaults.gateway.idle_timeout_ms


def test_alarms_and_graphs_are_of_figures_that_are_told() -> None:
    page = (ROOT / "docs/watch.md").read_text().partition("## CloudWatch")[2]
    told = set(re.findall(r"`([A-Z][A-Za-z]+)`", page))
    used = {alarm["metric"] for alarm in local("told").values()}
    drawn = {metric for graph in local("graphs") for metric in graph["metrics"]}
    assert len(used) > 10
    assert used | drawn <= told
