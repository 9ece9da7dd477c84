"""Fault 54: a server dies at any await of a payout, and another goes on. One transfer, one bank payout, exact books."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gollem.payments.stripe_gateway import StripeGateway
from tests.contracts.backends import BACKENDS
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe
from tests.payments.dying import Dying, Killed
from tests.payments.stage import DAY_MS, USD, Stage

PAYABLE = 150 * USD


@dataclass(frozen=True)
class Story:
    """What happens around acme's payout while servers look, and what it must come to."""

    bank: Callable[[Stage, str], None]  # what the bank does after each look
    balances: dict[str, int]
    bank_payouts: int
    alerts: list[str]
    blocked: bool = False  # the account, once the payout is initiated


def bank_pays(stage: Stage, connected_id: str) -> None:
    for bank_payout_id in pending(stage, connected_id):
        stage.stripe.bank_pays(bank_payout_id)


def bank_sends_back_the_first(stage: Stage, connected_id: str) -> None:
    for bank_payout_id in pending(stage, connected_id):
        if stage.bank_payouts(connected_id) == [bank_payout_id]:
            stage.stripe.bank_fails(bank_payout_id)
        else:
            stage.stripe.bank_pays(bank_payout_id)
    stage.clock.advance_ms(DAY_MS)


def pending(stage: Stage, connected_id: str) -> list[str]:
    """The bank payouts of which the bank has not said anything yet."""
    found = stage.stripe.all("payout", connected_id)
    return [str(one["id"]) for one in found if one["status"] == "pending"]


PAID = {"L:conn": PAYABLE, "A:paid": -PAYABLE}
# Of every how many calls one is tried: all on the model, and on the others only if asked for, because it takes minutes.
STEPS = dict.fromkeys(BACKENDS, 1) if "EVERY_AWAIT" in os.environ else {"model": 1, "sqlite": 5, "dynamodb": 47}
STORIES = {
    "paid": Story(bank_pays, PAID, 1, []),
    "sent back": Story(bank_sends_back_the_first, PAID, 2, ["payout:failed:0"]),
    "cancelled": Story(bank_pays, {"P": PAYABLE}, 0, ["payout:cancelled"], blocked=True),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("backend", BACKENDS)
async def test_54_killed_at_any_await(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    clock: FakeClock,
    stripe: FakeStripe,
    gateway: StripeGateway,
    backend: str,
    name: str,
    after: bool,
) -> None:
    """A server dies at its n-th call of the ledger or of Stripe, before or after that took effect; another goes on."""
    if backend == "dynamodb":
        request.getfixturevalue("dynamodb_endpoint")
    step = STEPS[backend]
    stripe.top_up(10_000_000)
    dies_at, completed = -1 - after, False  # of what is skipped, the two halves skip others
    while not completed:
        dies_at = max(dies_at + step, 0)
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        ledger = await BACKENDS[backend](folder)
        stage = Stage(ledger, clock, stripe, gateway)
        completed = await told(STORIES[name], stage, f"acme-{dies_at}", Dying(dies_at, after))
        assert (await ledger.audit()).findings == []
        await ledger.close()
    assert dies_at > 30


async def told(story: Story, stage: Stage, provider: str, fate: Dying) -> bool:
    """Whether the mortal server saw all of the story. In any case it comes to the same."""
    connected_id = await stage.onboard(provider)
    await stage.payable(PAYABLE, provider)
    if story.blocked:
        await stage.payouts.request(provider, "mine")
        stage.stripe.verify_account(connected_id, can_be_paid=False)
    mortal = Stage(fate.wrap(stage.ledger), stage.clock, stage.stripe, fate.wrap(stage.gateway))
    completed = True
    try:
        for _ in range(4):
            await mortal.payouts.look()
            story.bank(stage, connected_id)
    except Killed:
        completed = False
    for _ in range(5):
        await stage.new_payouts().look()
        story.bank(stage, connected_id)
    assert await stage.balances(provider) == story.balances
    assert len(stage.bank_payouts(connected_id)) == story.bank_payouts
    assert await stage.alerts() == story.alerts
    sent = [one for one in stage.stripe.all("transfer") if one["destination"] == connected_id]
    assert (len(sent), await stage.count(provider)) == (0 if story.blocked else 1, 1)
    return completed
