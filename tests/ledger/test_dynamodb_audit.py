"""The audit of a ledger on DynamoDB finds each kind of damage, names it, and says nothing wrong while all moves."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gollem.ledger import Check, Reconciler, records, rules
from gollem.ledger.accounts import earnings_account
from gollem.ledger.dynamodb import items, proof, queries
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.dynamodb.ledger import DynamoDBLedger, open_dynamodb
from gollem.ledger.dynamodb.pace import MARGIN_MS
from gollem.ledger.reconcile import QUICK
from gollem.ledger.types import ALL_CHECKS, Finding
from tests.contracts.samples import DAY_MS, NOW_MS, hold_of, opening
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb_faults import Faults, error

CREDIT = 10**8
LATER_MS = 1_200_000
ALICE = items.account_key("U:alice")
SEAL = "is not what was written: its seal does not match"


@pytest.fixture
async def ledger(dynamodb_table: str) -> AsyncIterator[DynamoDBLedger]:
    """10 credits granted, 2 held and settled, 0.5 held, a while ago: an index may be hiding what is new."""
    clock = FakeClock(NOW_MS)
    opened = await open_dynamodb(dynamodb_table, clock=clock)
    hold = hold_of("order-1", 2 * CREDIT)
    await opened.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    await opened.post(opening(hold))
    await opened.post(rules.settle(hold, CREDIT, CREDIT // 20, NOW_MS, "sold"))
    await opened.post(opening(hold_of("order-2", CREDIT // 2)))
    clock.advance_ms(LATER_MS)
    yield opened
    await opened.close()


async def change(ledger: DynamoDBLedger, damage: tuple[str, dict[str, object]]) -> None:
    operation, arguments = damage
    _, refused = await ledger.client.try_once(operation, TableName=ledger.client.table, **arguments)
    assert refused == ""


def setting(key: Item, expression: str, **values: Item) -> tuple[str, dict[str, object]]:
    body: dict[str, object] = {"Key": key, "UpdateExpression": expression}
    if values:
        body["ExpressionAttributeValues"] = {f":{name}": value for name, value in values.items()}
    return "update_item", body


# name -> (what somebody with the table's credentials does, every finding)
DEFECTS = {
    "stale balance": (
        setting(ALICE, "ADD balance :x", x=items.number(CREDIT)),
        [
            "U:alice: balance 9.50000000, legs sum to 8.50000000, difference 1.00000000",
            "trial balance: all accounts sum to 1.00000000, not to 0",
        ],
    ),
    "one atom": (
        setting(ALICE, "ADD balance :x", x=items.number(1)),
        [
            "U:alice: balance 8.50000001, legs sum to 8.50000000, difference 0.00000001",
            "trial balance: all accounts sum to 0.00000001, not to 0",
        ],
    ),
    "held is not the open holds": (
        setting(ALICE, "ADD held :x", x=items.number(25)),
        ["U:alice: held 0.50000025, open holds sum to 0.50000000, difference 0.00000025"],
    ),
    "missing entry": (
        ("delete_item", {"Key": items.entry_key("grant:g")}),
        [
            "U:alice: balance 8.50000000, legs sum to -1.50000000, difference 10.00000000",
            "X:promo: balance -10.00000000, legs sum to 0.00000000, difference -10.00000000",
        ],
    ),
    "missing leg": (
        setting(items.entry_key("hold:order-1"), "REMOVE legs[1] SET damaged = :x", x=items.number(1)),
        [
            "hold:order-1: legs sum to -2.00000000, not to 0",
            f"hold:order-1: {SEAL}",
            "H:order-1: balance 0.00000000, legs sum to -2.00000000, difference 2.00000000",
        ],
    ),
    "wrong shard": (
        setting(items.entry_key("settle:order-1"), "SET legs[2].a = :x", x=items.text("R:fee:99")),
        [
            f"settle:order-1: {SEAL}",
            "R:fee:99: balance 0.00000000, legs sum to 0.05000000, difference -0.05000000",
            "R:fee:15: balance 0.05000000, legs sum to 0.00000000, difference 0.05000000",
        ],
    ),
    "flipped byte": (
        setting(items.entry_key("settle:order-1"), "SET detail = :x", x=items.text("Sold")),
        [f"settle:order-1: {SEAL}"],
    ),
    "hold shrunk": (
        setting(items.hold_key("order-2"), "SET remaining = :x", x=items.number(49_999_999)),
        [
            "H:order-2: balance 0.49999999, legs sum to 0.50000000, difference -0.00000001",
            "U:alice: held 0.50000000, open holds sum to 0.49999999, difference 0.00000001",
            "trial balance: all accounts sum to -0.00000001, not to 0",
        ],
    ),
    "hold gone": (
        ("delete_item", {"Key": items.hold_key("order-2")}),
        [
            "H:order-2: balance 0.00000000, legs sum to 0.50000000, difference -0.50000000",
            "U:alice: held 0.50000000, open holds sum to 0.00000000, difference 0.50000000",
            "trial balance: all accounts sum to -0.50000000, not to 0",
        ],
    ),
    "closed hold with money in it": (
        setting(items.hold_key("order-1"), "SET remaining = :x", x=items.number(5)),
        [
            "H:order-1: balance 0.00000005, legs sum to 0.00000000, difference 0.00000005",
            "H:order-1: SETTLED with 0.00000005 remaining",
            "trial balance: all accounts sum to 0.00000005, not to 0",
        ],
    ),
}


@pytest.mark.parametrize(("damage", "findings"), DEFECTS.values(), ids=DEFECTS.keys())
async def test_defect_is_found_and_measured(
    ledger: DynamoDBLedger, damage: tuple[str, dict[str, object]], findings: list[str]
) -> None:
    await change(ledger, damage)
    report = await ledger.audit()

    assert sorted(report.findings) == sorted(findings)


async def test_sound_books_have_no_findings(ledger: DynamoDBLedger) -> None:
    report = await ledger.audit()
    assert (report.transactions, report.accounts, report.findings) == (4, 6, [])


class Trading:
    """An order after each of the first pages of a scan, and after each look that follows: no account ever rests."""

    def __init__(self, audited: DynamoDBLedger, traders: Sequence[DynamoDBLedger], users: Sequence[str]) -> None:
        self._traders = traders
        self._users = users
        self.done = 0
        faults = Faults(audited.client)
        faults.lose_reply(self._order, times=80, operation="Scan")
        faults.lose_reply(self._order_alike, times=1_000, operation="BatchGetItem")
        audited.client.events.register("before-parameter-build.dynamodb.Scan", one_page_is_small)

    async def _order(self) -> None:
        number = self.done
        await self._trade(self._users[number % len(self._users)], 10 - number % 4 if number % 3 else 0)

    async def _order_alike(self) -> None:
        """Two looks that each miss one miss the same amount."""
        await self._trade(self._users[0], 6)

    async def _trade(self, user: str, usage_atoms: int) -> None:
        number, self.done = self.done, self.done + 1
        ledger = self._traders[number % len(self._traders)]
        hold = hold_of(f"order-{number}-of-many", 10, user=user, provider=f"p{number % 2}")
        await ledger.post(opening(hold))
        if usage_atoms:
            await ledger.post(rules.settle(hold, usage_atoms, 1, NOW_MS))


async def audits(ledger: DynamoDBLedger, count: int) -> list[str]:
    """What so many find, by turns the whole audit and what needs no journal."""
    return [
        finding for number in range(count) for finding in (await ledger.audit((ALL_CHECKS, QUICK)[number % 2])).findings
    ]


def one_page_is_small(params: dict[str, object], **_: object) -> None:
    params["Limit"] = 5


async def test_audit_of_a_moving_ledger_raises_no_false_alarm(ledger: DynamoDBLedger) -> None:
    await ledger.post(rules.grant("g-2", "bob", CREDIT, NOW_MS))
    trading = Trading(ledger, [ledger], ["alice", "bob"])
    found = await audits(ledger, 6)

    assert found == []
    assert trading.done >= 60


@pytest.mark.parametrize("alone", [False, True])
async def test_machine_that_is_an_hour_behind_raises_no_false_alarm(dynamodb_table: str, alone: bool) -> None:
    right = await open_dynamodb(dynamodb_table, clock=FakeClock(NOW_MS))
    behind = await open_dynamodb(dynamodb_table, clock=FakeClock(NOW_MS - 3_600_000))
    await (behind if alone else right).post(rules.grant("g", "alice", CREDIT, NOW_MS))
    Trading(right, [behind] if alone else [behind, right], ["alice"])
    found = await audits(right, 4)
    await right.close()
    await behind.close()

    assert found == []


async def test_stale_balance_of_an_account_that_never_rests_is_found(ledger: DynamoDBLedger) -> None:
    Trading(ledger, [ledger], ["alice"])
    await change(ledger, setting(ALICE, "ADD balance :x", x=items.number(CREDIT)))
    found = await audits(ledger, 1)

    assert len(found) == 2
    assert all("difference 1.00000000" in finding or "sum to 1.00000000" in finding for finding in found)


async def test_balance_and_sum_changed_alike_are_found_when_their_time_is_over(ledger: DynamoDBLedger) -> None:
    """As somebody would who knows the layout: the sum is not the one that moves."""
    slot = items.slot_of(items.first_number(NOW_MS))
    Trading(ledger, [ledger], ["alice"])
    await change(ledger, setting(ALICE, f"ADD balance :x, atoms{slot} :x", x=items.number(CREDIT)))
    found = await audits(ledger, 1)

    assert any(finding.startswith("U:alice") and "difference 1.00000000" in finding for finding in found)


async def test_entry_gone_from_under_an_account_that_never_rests_is_found(ledger: DynamoDBLedger) -> None:
    await change(ledger, DEFECTS["missing entry"][0])
    Trading(ledger, [ledger], ["alice"])
    found = await audits(ledger, 1)

    assert any(finding.startswith("U:alice") and "difference 10.00000000" in finding for finding in found)


async def test_entries_that_their_index_does_not_show_yet_are_no_finding(ledger: DynamoDBLedger) -> None:
    """The scan meets some of what they moved, and not them; then they rest, and the index is behind."""
    ledger.client.events.register("before-parameter-build.dynamodb.Scan", one_page_is_small)
    faults = Faults(ledger.client)
    numbers = iter(range(20))

    async def order() -> None:
        await ledger.post(opening(hold_of(f"late-{next(numbers)}", 10)))

    faults.lose_reply(order, times=20, operation="Scan")
    faults.answer({"Items": [], "ResponseMetadata": {"HTTPStatusCode": 200}}, times=10_000, operation="Query")
    report = await ledger.audit()

    assert report.findings == []
    assert faults.calls.count("Query") > 0


HOLD = items.hold_key("order-2")
UNLISTED = {
    "hold": (HOLD, "REMOVE dated, dated_by, listed", "H#order-2"),
    "hold's deadline": (HOLD, "SET dated_by = :x", "H#order-2"),
    "earnings": (None, "REMOVE dated", "PM#acme#"),
    "entry": (items.entry_key("grant:g"), "REMOVE dated", "T#grant:g"),
    "record": (items.record_key("provider", "acme"), "REMOVE listed", "R#provider#acme"),
}


@pytest.mark.parametrize(("key", "expression", "name"), UNLISTED.values(), ids=UNLISTED.keys())
async def test_what_no_index_finds_is_named(
    ledger: DynamoDBLedger, key: Item | None, expression: str, name: str
) -> None:
    await ledger.post(rules.provider_registered("acme", "acct_1", True, NOW_MS))
    key = key or items.account_key(earnings_account("acme", "order-1", NOW_MS))
    values = {"x": items.text("9")} if ":x" in expression else {}
    await change(ledger, setting(key, expression, **values))
    report = await ledger.audit()

    assert len(report.findings) == 1
    assert report.findings[0].startswith(name)
    assert report.findings[0].endswith("is not in its index, where it is looked for")


@pytest.mark.parametrize("field", ["provider", "terms", "user", "fence", "expires_at_ms", "opened_at_ms", "amount"])
async def test_fields_of_an_open_hold_are_under_its_entrys_seal(ledger: DynamoDBLedger, field: str) -> None:
    value = items.text("mallory") if field in ("provider", "terms", "user") else items.number(9)
    _, refused = await ledger.client.try_once(
        "update_item",
        TableName=ledger.client.table,
        Key=HOLD,
        UpdateExpression="SET #field = :x",
        ExpressionAttributeNames={"#field": field},
        ExpressionAttributeValues={":x": value},
    )
    report = await ledger.audit()

    assert refused == ""
    told = "H:order-2: its user, provider, terms or deadline are not what was written"
    assert Finding(Check.HOLDS, told) in report.found


DAMAGED = {
    "hold's state": (HOLD, "SET #x = :x", "state", items.text("OPFN")),
    "hold's amount": (HOLD, "REMOVE #x", "user", None),
    "account": (ALICE, "SET #x = :x", "balance", items.text("9")),
    "entry": (items.entry_key("grant:g"), "SET #x = :x", "legs", items.text("x")),
    "record": (items.record_key("provider", "acme"), "REMOVE #x", "fields", None),
}


@pytest.mark.parametrize(("key", "expression", "field", "value"), DAMAGED.values(), ids=DAMAGED.keys())
async def test_damaged_item_is_named_and_stops_nothing_else(
    ledger: DynamoDBLedger, key: Item, expression: str, field: str, value: Item | None
) -> None:
    await ledger.post(rules.provider_registered("acme", "acct_1", True, NOW_MS))
    await ledger.post(rules.provider_registered("beta", "acct_2", True, NOW_MS))
    await ledger.post(opening(hold_of("order-3", CREDIT)))
    _, refused = await ledger.client.try_once(
        "update_item",
        TableName=ledger.client.table,
        Key=key,
        UpdateExpression=expression,
        ExpressionAttributeNames={"#x": field},
        **({"ExpressionAttributeValues": {":x": value}} if value else {}),
    )
    assert refused == ""
    found = (await ledger.audit()).findings
    swept = await ledger.expired_holds(NOW_MS + DAY_MS)
    listed = await ledger.open_holds()
    providers = await ledger.records(records.PROVIDER, "ENABLED")
    clock = FakeClock(NOW_MS)
    results = await Reconciler(ledger, clock).run()
    breaker = await ledger.find_record(records.BREAKER, records.PAYOUTS)

    assert any(finding.startswith(f"{items.name_of(key)}: the item is damaged") for finding in found)
    assert "order-3" in [hold.order_id for hold in swept]
    assert "order-3" in [hold.order_id for hold in listed]
    assert "beta" in [record.id for record in providers]
    assert not all(result.ok for result in results)
    assert breaker
    assert breaker.state == "HALTED"


async def test_entry_that_comes_between_the_pages_is_no_finding(ledger: DynamoDBLedger) -> None:
    """The scan is over before the settlement, the account is read again after it."""
    faults = Faults(ledger.client)
    scanned = []

    async def settle() -> None:
        scanned.append(await ledger.post(rules.settle(hold_of("order-2", CREDIT // 2), 1, 0, NOW_MS)))

    faults.lose_reply(settle, operation="Scan")
    faults.answer(error("ThrottlingException"), operation="Scan")
    report = await ledger.audit()

    assert (len(scanned), report.findings) == (1, [])


class TickingClock(FakeClock):
    """A millisecond goes by each time somebody looks."""

    def now_ms(self) -> int:
        self.jump_ms(1)
        return super().now_ms()


async def lines_of(ledger: DynamoDBLedger, owner: str) -> list[Item]:
    return [
        item
        async for page in queries.pages(ledger.client, "scan", ConsistentRead=True)
        for item in page
        if item["pk"]["S"].startswith(f"L#{owner}#")
    ]


@pytest.fixture
async def gathered(dynamodb_table: str) -> AsyncIterator[DynamoDBLedger]:
    """10 credits granted, then 9 holds of one request, each numbered a millisecond after the other."""
    clock = TickingClock(NOW_MS)
    opened = await open_dynamodb(dynamodb_table, clock=clock)
    await opened.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    first, *others = [opened.post(opening(hold_of(f"o{at}", CREDIT))) for at in range(10)]
    await asyncio.gather(first, *others)
    clock.advance_ms(LATER_MS)
    await opened.post(rules.grant("later", "bob", CREDIT, NOW_MS))
    yield opened
    await opened.close()


async def test_a_line_of_a_statement_that_is_not_the_journals_is_a_finding(gathered: DynamoDBLedger) -> None:
    several = next(item for item in await lines_of(gathered, "U:alice") if "gathered" in item)
    lines = several["gathered"]["L"]
    other = {"M": lines[1]["M"] | {"order_id": items.text("o999")}}
    for damaged, finding in (
        (lines[:-1], "-1 lines, 1.00000000 credits"),
        ([*lines, lines[0]], "+1 lines, -1.00000000 credits"),
        ([lines[0], other, *lines[2:]], "+0 lines, 0.00000000 credits"),
    ):
        await change(gathered, ("put_item", {"Item": several | {"gathered": {"L": damaged}}}))
        found = (await gathered.audit()).findings
        assert found == [f"statement of U:alice: is not what the journal says: {finding}"]
    await change(gathered, ("put_item", {"Item": several | {"gathered": {"L": [{"M": {}}]}}}))
    (found_damage,) = (await gathered.audit()).findings
    assert "L#U:alice" in found_damage
    assert "damaged" in found_damage


async def test_lines_of_one_item_on_both_sides_of_what_is_proven_are_no_false_alarm(gathered: DynamoDBLedger) -> None:
    entries = [await gathered.find_entry(f"hold:o{at}") for at in range(10)]
    moments = sorted(items.moment_ms(entry.sequence) for entry in entries if entry)
    assert len(set(moments)) == 10
    for moment_ms in (moments[0] - 1, *moments, moments[-1] + 1):
        report = await proof.audit(gathered.client, FakeClock(moment_ms + MARGIN_MS))
        assert report.findings == []
