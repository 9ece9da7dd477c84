"""Holds, transactions and questions that the ledgers' tests share."""

import asyncio
from collections.abc import Awaitable, Sequence

from msgspec.structs import replace

from gollem.ledger import Hold, Ledger, Posted, rules
from gollem.ledger.desk import Desk
from gollem.ledger.dynamodb.ledger import DynamoDBLedger
from gollem.ledger.types import Transaction

NOW_MS = 1_800_000_000_000  # 2027-01-15
MIDNIGHT_MS = 1_800_057_600_000  # 2027-01-16
DAY_MS = 86_400_000
FINGERPRINT = "of-the-bid"
CENT = 10**9
USD = 100 * CENT
DELAY_DAYS = 7
CAP_ATOMS = 1_000 * USD


def hold_of(order_id: str = "order-1", amount_atoms: int = 100, **fields: object) -> Hold:
    base = Hold(order_id, "alice", "acme", amount_atoms, NOW_MS, NOW_MS + 60_000, terms='{"price": 1}')
    return replace(base, **fields)  # type: ignore[arg-type]


def opening(hold: Hold, fingerprint: str = FINGERPRINT) -> Transaction:
    return rules.hold(hold, fingerprint, NOW_MS)


def granting(amount_atoms: int, user: str = "alice", grant_id: str = "grant-1") -> Transaction:
    return rules.grant(grant_id, user, amount_atoms, NOW_MS)


def many(ledger: Ledger, number: int) -> int:
    """So many operations, or a tenth where each is a request to a server of Amazon's emulator."""
    return max(1, number // 10) if isinstance(ledger, DynamoDBLedger) else number


def legs(posted: Posted) -> dict[str, int]:
    return {leg.account: leg.amount_atoms for leg in posted.entry.legs}


async def buy(ledger: Ledger, desk: Desk, cents: int, purchase_id: str = "buy-1", user: str = "alice") -> Posted:
    """A purchase from its creation to its credits; its payment is `pi-{purchase_id}`."""
    await ledger.post(rules.purchase_created(purchase_id, user, cents, NOW_MS))
    return await desk.credit_purchase(purchase_id, f"pi-{purchase_id}", cents, "usd")


async def earn(ledger: Ledger, amount_atoms: int, order_id: str = "earned", at_ms: int = NOW_MS) -> None:
    """Earnings of acme, without a fee, paid by a grant to some buyer."""
    await ledger.post(rules.grant(f"for-{order_id}", "buyer", amount_atoms, at_ms))
    hold = hold_of(order_id, amount_atoms, user="buyer")
    await ledger.post(opening(hold))
    await ledger.post(rules.settle(hold, amount_atoms, 0, at_ms))


async def state(ledger: Ledger, users: Sequence[str] = ("alice",)) -> object:
    """All that can be asked about these users and the provider."""
    return (
        [await ledger.balance(user) for user in users],
        [await ledger.user_statement(user) for user in users],
        await ledger.provider_statement("acme"),
        (await ledger.provider_balance("acme")).earned_atoms,
        await ledger.open_holds(),
        await ledger.audit(),
    )


async def outcomes(posts: Sequence[Awaitable[Posted]]) -> list[bool | type[BaseException]]:
    """Of concurrent posts: applied or not, or the error's type."""
    results = await asyncio.gather(*posts, return_exceptions=True)
    return [type(result) if isinstance(result, BaseException) else result.applied for result in results]
