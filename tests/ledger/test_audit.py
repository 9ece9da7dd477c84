"""The audit finds each kind of defect, and names the exact difference."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gollem.ledger import Entry, Kind, open_ledger, rules
from gollem.ledger.audit import AccountState, prove, seal
from gollem.ledger.desk import Desk
from gollem.ledger.sqlite import open_sqlite
from gollem.ledger.types import Leg
from tests.contracts.samples import DAY_MS, NOW_MS, USD, buy, earn, hold_of, opening
from tests.fakes.clock import FakeClock
from tests.until import WITHIN_S

CREDIT = 10**8
DROP_TRIGGERS = (
    "entry_is_final", "entry_stays", "leg_is_final", "leg_stays", "line_is_final", "line_stays", "lined_grows",
    "lined_stays", "hold_stays",
    "hold_closes_once",
)  # fmt: skip
SEAL = "is not what was written: its seal does not match"

# name -> (statement, every finding)
DEFECTS = {
    "terms of an open hold": (
        "UPDATE hold SET terms = '{\"price\": 2}' WHERE order_id = 'order-2'",
        ["H:order-2: its user, provider, terms or deadline are not what was written"],
    ),
    "missing leg": (
        "DELETE FROM leg WHERE number = 129",
        [
            "hold:order-1: legs sum to -2.00000000, not to 0",
            f"hold:order-1: {SEAL}",
            "H:order-1: balance 0.00000000, legs sum to -2.00000000, difference 2.00000000",
        ],
    ),
    "doubled leg": (
        "INSERT INTO leg SELECT number + 2, account, amount_atoms, statement FROM leg WHERE number = 129",
        [
            "hold:order-1: legs sum to 2.00000000, not to 0",
            f"hold:order-1: {SEAL}",
            "H:order-1: balance 0.00000000, legs sum to 2.00000000, difference -2.00000000",
        ],
    ),
    "missing entry": (
        "DELETE FROM entry WHERE sequence = 1",
        [f"missing entry 1: {SEAL}"],
    ),
    "missing transaction": (
        "DELETE FROM leg WHERE number / 64 = 1",
        [
            f"grant:g: {SEAL}",
            "the statement of U:alice shows leg 65, which is not its own",
            "U:alice: balance 8.50000000, legs sum to -1.50000000, difference 10.00000000",
            "X:promo: balance -10.00000000, legs sum to 0.00000000, difference -10.00000000",
        ],
    ),
    "stale balance": (
        "UPDATE account SET balance_atoms = balance_atoms + 100000000 WHERE account = 'U:alice'",
        [
            "U:alice: balance 9.50000000, legs sum to 8.50000000, difference 1.00000000",
            "trial balance: all accounts sum to 1.00000000, not to 0",
        ],
    ),
    "one atom, hidden from the trial balance": (
        "UPDATE account SET balance_atoms = balance_atoms + iif(account = 'U:alice', 1, -1) "
        "WHERE account IN ('U:alice', 'X:promo')",
        [
            "U:alice: balance 8.50000001, legs sum to 8.50000000, difference 0.00000001",
            "X:promo: balance -10.00000001, legs sum to -10.00000000, difference -0.00000001",
        ],
    ),
    "one atom in a leg": (
        "UPDATE leg SET amount_atoms = amount_atoms + 1 WHERE number = 128",
        [
            "hold:order-1: legs sum to 0.00000001, not to 0",
            f"hold:order-1: {SEAL}",
            "U:alice: balance 8.50000000, legs sum to 8.50000001, difference -0.00000001",
        ],
    ),
    "held is not the open holds": (
        "UPDATE account SET held_atoms = held_atoms + 25 WHERE account = 'U:alice'",
        ["U:alice: held 0.50000025, open holds sum to 0.50000000, difference 0.00000025"],
    ),
    "hold shrunk": (
        "UPDATE hold SET remaining_atoms = 49999999, settled_atoms = 1 WHERE state = 'OPEN'",
        [
            "H:order-2: balance 0.49999999, legs sum to 0.50000000, difference -0.00000001",
            "U:alice: held 0.50000000, open holds sum to 0.49999999, difference 0.00000001",
            "trial balance: all accounts sum to -0.00000001, not to 0",
        ],
    ),
    "hold gone": (
        "DELETE FROM hold WHERE order_id = 'order-2'",
        [
            "H:order-2: balance 0.00000000, legs sum to 0.50000000, difference -0.50000000",
            "U:alice: held 0.50000000, open holds sum to 0.00000000, difference 0.50000000",
            "trial balance: all accounts sum to -0.50000000, not to 0",
        ],
    ),
    "wrong fingerprint": (
        "UPDATE entry SET fingerprint = 'of-the-biD' WHERE key = 'hold:order-1'",
        [f"hold:order-1: {SEAL}"],
    ),
    "flipped byte of the detail": (
        "UPDATE entry SET detail = 'Sold' WHERE key = 'settle:order-1'",
        [f"settle:order-1: {SEAL}"],
    ),
    "hold of another entry": (
        "UPDATE hold SET entry = 9 WHERE order_id = 'order-2'",
        ["H:order-2: entry 9 did not open this hold"],
    ),
    "leg in nobody's statement": (
        "UPDATE leg SET statement = NULL WHERE number = 128",
        [
            "hold:order-1: its leg of U:alice is in the statement of nobody",
            "the statement of U:alice shows leg 128, which is not its own",
        ],
    ),
    "leg in another's statement": (
        "UPDATE leg SET statement = 'U:bob' WHERE number = 256",
        ["hold:order-2: its leg of U:alice is in the statement of U:bob"],
    ),
    "line that is lost": (
        "DELETE FROM statement_line WHERE number = 128",
        ["the statement of U:alice lacks leg 128"],
    ),
    "line that is another's": (
        "UPDATE statement_line SET statement = 'U:bob' WHERE number = 128",
        [
            "the statement of U:alice lacks leg 128",
            "the statement of U:bob shows leg 128, which is not its own",
        ],
    ),
    "mark of lines set back": (
        "UPDATE lined SET below = 64",
        [f"the statement of U:alice shows leg {number}, which is not its own" for number in (65, 128)],
    ),
    "mark of lines beyond the journal": (
        "UPDATE lined SET below = 9999",
        [
            "the file is damaged: the mark of statement lines is [9999], the journal ends at 320",
            "the statement of P:acme lacks leg 193",
            *(f"the statement of U:alice lacks leg {number}" for number in (195, 256)),
        ],
    ),
    "mark of lines lost": (
        "DELETE FROM lined",
        [
            "the file is damaged: the mark of statement lines is [], the journal ends at 320",
            *(f"the statement of U:alice shows leg {number}, which is not its own" for number in (65, 128)),
        ],
    ),
    "changed kind": (
        "UPDATE entry SET kind = 'grunt' WHERE key = 'grant:g'",
        [f"grant:g: {SEAL}"],
    ),
}


async def books(path: Path) -> None:
    """The first two entries have their lines of statements, the others have none yet."""
    ledger = open_sqlite(path, line_batch=3)
    hold = hold_of("order-1", 2 * CREDIT)
    await ledger.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    await ledger.post(opening(hold))
    await ledger.post(rules.settle(hold, CREDIT, CREDIT // 20, NOW_MS, "sold"))
    await ledger.post(opening(hold_of("order-2", CREDIT // 2)))
    await ledger.close()


@pytest.mark.parametrize(("statement", "findings"), DEFECTS.values(), ids=DEFECTS.keys())
async def test_defect_is_found_and_measured(tmp_path: Path, statement: str, findings: list[str]) -> None:
    path = tmp_path / "ledger.db"
    await books(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for trigger in DROP_TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        assert connection.execute(statement).rowcount > 0

    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    report = await reader.audit()
    await reader.close()

    assert sorted(report.findings) == sorted(findings)
    assert not report.ok


RECORDS = {
    "payout said to be over": (
        "UPDATE record SET state = 'TRANSFERRED' WHERE kind = 'payout'",
        "PO:po-1: balance 1000.00000000, its payout is TRANSFERRED, which comes to 0.00000000, "
        "difference 1000.00000000",
    ),
    "payout of another amount": (
        "UPDATE record SET fields = json_set(fields, '$.amount_atoms', 1) WHERE kind = 'payout'",
        "PO:po-1: balance 1000.00000000, its payout is INITIATED, which comes to 0.00000001, difference 999.99999999",
    ),
    "payout without a record": (
        "DELETE FROM record WHERE kind = 'payout'",
        "PO:po-1: balance 1000.00000000, no record comes to 0.00000000, difference 1000.00000000",
    ),
    "refunded more than was paid": (
        "UPDATE record SET fields = json_set(fields, '$.refunded_atoms', 100000000001) WHERE kind = 'purchase'",
        "purchase buy-1: refunded 1000.00000001 of 1000.00000000",
    ),
}


@pytest.mark.parametrize(("statement", "finding"), RECORDS.values(), ids=RECORDS.keys())
async def test_record_that_is_not_as_the_money_is_found(tmp_path: Path, statement: str, finding: str) -> None:
    """What is over holds nothing, what is under way holds its amount."""
    ledger = await open_ledger(f"sqlite://{tmp_path}/ledger.db")
    desk = Desk(ledger, FakeClock(NOW_MS), delay_days=1, cap_atoms=0)
    await buy(ledger, desk, 100)
    await earn(ledger, USD, at_ms=NOW_MS - 3 * DAY_MS)
    await desk.mature_due()
    await ledger.post(rules.provider_registered("acme", "acct_1", enabled=True, now_ms=NOW_MS))
    await desk.pay_out("po-1", "acme", USD)
    assert (await ledger.audit()).findings == []
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER record_stays")
        assert connection.execute(statement).rowcount == 1

    reader = await open_ledger(f"sqlite://{tmp_path}/ledger.db", read_only=True)
    assert (await reader.audit()).findings == [finding]
    await reader.close()


async def test_account_out_of_its_bounds_is_found(tmp_path: Path) -> None:
    """Though its legs say the same: a debt that became a deposit."""
    legs = (Leg("X:promo", -5), Leg("D:alice", 5))
    entry = Entry(1, "key", Kind.GRANT, legs, "", 0, "", "")
    accounts = [AccountState("X:promo", -5, 0), AccountState("D:alice", 5, 0)]
    report = prove([(entry, seal(entry))], accounts, [], [])
    assert report.findings == ["D:alice: balance 0.00000005, but never above 0"]


async def test_sound_books_have_no_findings(tmp_path: Path) -> None:
    await books(tmp_path / "ledger.db")
    reader = await open_ledger(f"sqlite://{tmp_path}/ledger.db", read_only=True)
    report = await reader.audit()
    await reader.close()

    assert report.ok
    assert (report.transactions, report.accounts) == (4, 6)


async def test_audit_of_a_moving_ledger_raises_no_false_alarm(tmp_path: Path) -> None:
    """It reads one snapshot, while others write."""
    ledger = await open_ledger(f"sqlite://{tmp_path}/ledger.db")
    await ledger.post(rules.grant("g", "alice", 10**9, NOW_MS))
    stop = asyncio.Event()

    async def trade(caller: int) -> int:
        number = 0
        while not stop.is_set():
            hold = hold_of(f"order-{caller}-{number}", 10)
            await ledger.post(opening(hold))
            await ledger.post(rules.settle(hold, 7, 1, NOW_MS))
            number += 1
        return number

    traders = [asyncio.create_task(trade(caller)) for caller in range(8)]
    reports = []
    async with asyncio.timeout(WITHIN_S):
        while len(reports) < 10 or reports[-1].transactions < 100:
            reports.append(await ledger.audit())
    stop.set()
    traded = await asyncio.gather(*traders)
    await ledger.close()

    assert [report.findings for report in reports if not report.ok] == []
    assert reports[-1].transactions <= 1 + 2 * sum(traded)
