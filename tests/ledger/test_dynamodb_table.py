"""Making the table: what is missing is added, what can never be a ledger's is refused and said."""

import re
from pathlib import Path

import pytest

from gollem.errors import InvalidField, LedgerUnavailable
from gollem.ledger import Kind, rules
from gollem.ledger.dynamodb import statements
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.dynamodb.ledger import create_dynamodb, open_dynamodb, parse_url
from gollem.ledger.types import StatementFilter
from tests.contracts.samples import NOW_MS, granting, hold_of, opening
from tests.fakes.dynamodb_faults import Faults


@pytest.fixture
def url(dynamodb_endpoint: str, tmp_path: Path) -> str:
    """No table is there yet."""
    return f"dynamodb://by-hand-{tmp_path.name}?endpoint={dynamodb_endpoint}&region=eu-west-1"


async def make_by_hand(url: str, keys: tuple[str, str], indexes: list[Item]) -> None:
    client = Client(parse_url(url))
    await client.open()
    names = {*keys, *(key["AttributeName"] for index in indexes for key in index["KeySchema"])}
    _, error = await client.try_once(
        "create_table",
        TableName=client.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in sorted(names)],
        KeySchema=schema(*keys),
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )
    await client.close()
    assert error == ""


def schema(*keys: str) -> list[Item]:
    return [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)]


def index(name: str, *keys: str) -> Item:
    return {"IndexName": name, "KeySchema": schema(*keys), "Projection": {"ProjectionType": "KEYS_ONLY"}}


@pytest.mark.parametrize("there", [[], [index("listed", "listed", "pk")]], ids=["none", "one"])
async def test_table_without_indexes_is_completed(url: str, there: list[Item]) -> None:
    await make_by_hand(url, ("pk", "sk"), there)
    told = await create_dynamodb(url, stream=True)
    again = await create_dynamodb(url, stream=True)

    assert "index dated: was missing, made" in told
    assert ("index listed: was missing, made" in told) == (there == [])
    assert "stream: was missing, made" in told
    assert not any("missing" in line for line in again)
    ledger = await open_dynamodb(url)
    await ledger.post(granting(1_000))
    await ledger.post(opening(hold_of()))
    assert [hold.order_id for hold in await ledger.expired_holds(NOW_MS + 60_000)] == ["order-1"]
    await ledger.close()


@pytest.mark.parametrize(
    ("keys", "indexes", "why"),
    [
        (("id", "sk"), [], "its keys are not pk and sk"),
        (("pk", "sk"), [index("dated", "dated", "pk")], "its index dated has other keys"),
    ],
)
async def test_table_that_is_no_ledgers_is_refused(
    url: str, keys: tuple[str, str], indexes: list[Item], why: str
) -> None:
    await make_by_hand(url, keys, indexes)
    with pytest.raises(LedgerUnavailable, match=why):
        await create_dynamodb(url)


async def test_filter_that_matches_nothing_costs_few_calls_and_ends(
    dynamodb_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = StatementFilter(frozenset({Kind.CLAWBACK}))
    ledger = await open_dynamodb(dynamodb_table)
    for number in range(60):
        await ledger.post(rules.grant(f"g-{number}", "carol", 1, NOW_MS))
    faults = Faults(ledger.client)

    assert await ledger.user_statement("carol", limit=2, only=nothing) == []
    assert len(faults.calls) == 4  # one a shard
    monkeypatch.setattr(statements, "_FILTERED", 1)
    monkeypatch.setattr(statements, "_MOST_PAGES", 3)
    with pytest.raises(InvalidField, match="too few"):
        await ledger.user_statement("carol", limit=2, only=nothing)
    await ledger.close()


async def test_what_is_wrong_with_a_table_is_said_of_its_url(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match=re.escape(f"{url} is not there: `gollem ledger create` makes it")):
        await open_dynamodb(url)
    with pytest.raises(LedgerUnavailable, match="is no table: such as dynamodb://gollem"):
        await open_dynamodb("dynamodb://[table")
