"""With no account anywhere: credits are bought, spent, earned and paid out, and the books agree.

The room is the one that the exchange opens; people use its pages, and webhooks come to its bridge, over HTTP.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gollem.bridge import Bridge
from gollem.config import BridgeConfig, PaymentsConfig
from gollem.ledger import Desk, Hold, Ledger, rules
from gollem.payments import Payments, open_payments, stored_id
from tests.contracts.backends import open_sqlite
from tests.fakes.clock import FakeClock
from tests.until import until_answer

CENT = 10**9
DAY_MS = 86_400_000
LOOKS = 4  # initiated, transferred, sent to the bank, paid
CONFIG = PaymentsConfig(gateway="local", delay_days=7)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await open_sqlite(tmp_path)
    yield opened
    assert (await opened.audit()).findings == []
    await opened.close()


@pytest.fixture
async def room(ledger: Ledger, clock: FakeClock, desk: Desk, tmp_path: Path) -> AsyncIterator[Payments]:
    opened = await open_payments(CONFIG, ledger, desk, clock, tmp_path)
    assert opened is not None
    bridge = Bridge(BridgeConfig(port=0), opened.routes())
    await bridge.start()
    opened.serve_at(bridge.url)
    yield opened
    await bridge.stop()
    await opened.close()


async def visit(url: str, **more: object) -> None:
    async with aiohttp.ClientSession() as session:
        ask = session.post(url, **more) if more else session.get(url)  # type: ignore[arg-type]
        async with ask as answer:
            assert answer.status == 200


async def buy(room: Payments, ledger: Ledger, purchase_id: str, cents: int) -> None:
    """Somebody pays at the page; the webhook does the rest."""
    made = await room.purchases.create("alice", purchase_id, cents)
    base = made.pay_url.partition("/local/")[0]
    before_atoms = await ledger.account_atoms("U:alice")
    await visit(f"{base}/local/pay", json={"client_secret": made.client_secret})
    await until_answer(lambda: room.inbox.work())
    assert await ledger.account_atoms("U:alice") - before_atoms == cents * CENT


async def test_credits_are_bought_and_earnings_paid_out(
    room: Payments, ledger: Ledger, clock: FakeClock, desk: Desk
) -> None:
    await buy(room, ledger, "buy-1", 20_000)
    view = await room.purchases.find("alice", "buy-1")
    assert view.state == "credited"
    await visit(view.receipt_url)

    await visit(await room.onboarding.start("acme", "US"))
    await until_answer(lambda: room.inbox.work())
    await room.onboarding.require_payable("acme")

    hold = Hold("order-1", "alice", "acme", 20_000 * CENT, clock.now_ms(), clock.now_ms() + 60_000, terms="{}")
    await ledger.post(rules.hold(hold, "bid", clock.now_ms()))
    await ledger.post(rules.settle(hold, 20_000 * CENT, 1_000 * CENT, clock.now_ms()))
    clock.advance_ms(8 * DAY_MS)
    await desk.mature_due()
    for _ in range(LOOKS):
        await room.payouts.look()
        clock.advance_ms(60_000)
    earned = await room.payouts.earnings("acme")
    assert earned.paid_atoms == 19_000 * CENT

    await room.books.match_movements()
    clock.advance_ms(3_600_000)
    matched = await room.books.match_movements()
    proven = await room.books.prove_balance()
    assert matched.findings == []
    assert proven is not None
    assert proven.findings == []
    assert (await room.gateway.funds()).cents == 20_000 - 200 - 19_000


async def test_a_refund_goes_back(room: Payments, ledger: Ledger, clock: FakeClock) -> None:
    await buy(room, ledger, "buy-1", 5_000)
    await buy(room, ledger, "buy-2", 2_000)  # whose money pays for the fee
    await room.refunds.create("back-1", stored_id("alice", "buy-1"), 5_000)
    assert await ledger.account_atoms("U:alice") == 2_000 * CENT
    assert (await room.gateway.funds()).cents == 7_000 - 50 - 20 - 5_000
