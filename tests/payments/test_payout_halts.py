"""What an operator does to payouts that are on their way: halts them all, lets them go on, takes one back."""

import pytest

from gollem.errors import PaymentRefused, UnknownPayout, WrongState
from gollem.exchange import Cases
from gollem.ledger import records
from gollem.payments.gateway import PaymentGateway
from gollem.payments.types import Transfer
from tests.fakes.stripe import Fault
from tests.payments.shop import ON_EVERY_LEDGER
from tests.payments.stage import HOUR_MS, USD, Stage

TRANSFER = "POST /v1/transfers"
PAYABLE = 150 * USD


async def has_key(account: str) -> bool:
    return True


def cases(stage: Stage) -> Cases:
    return Cases(stage.ledger, stage.desk, stage.clock, has_key)


async def initiated(stage: Stage) -> str:
    """acme's payout waits for the platform's balance. Returns its id."""
    await stage.onboard()
    await stage.payable(PAYABLE)
    await stage.payouts.look()
    return (await stage.payout()).id


async def test_what_is_initiated_is_not_transferred_while_payouts_are_halted(stage: Stage) -> None:
    payout_id = await initiated(stage)
    stage.stripe.top_up(100_000)
    assert await cases(stage).halt_payouts("looks odd", "eve")
    for _ in range(3):
        await stage.payouts.look()
    assert (await stage.payout(payout_id)).state == "INITIATED"
    assert stage.transfers() == 0

    assert await cases(stage).resume_payouts("eve")
    await stage.payouts.look()
    assert (await stage.payout(payout_id)).state == "TRANSFERRED"


async def test_what_is_transferred_goes_on_to_the_bank_while_payouts_are_halted(stage: Stage) -> None:
    connected_id = await stage.ready(PAYABLE)
    await stage.payouts.look()
    await cases(stage).halt_payouts("looks odd", "eve")
    await stage.payouts.look()
    (bank_payout_id,) = stage.bank_payouts(connected_id)
    stage.stripe.bank_pays(bank_payout_id)
    await stage.payouts.look()
    assert (await stage.payout()).state == "PAID"


@ON_EVERY_LEDGER
async def test_halting_and_resuming_again_and_again(stage: Stage) -> None:
    for number in range(3):
        assert await cases(stage).halt_payouts(f"reason {number}", "eve")
        assert not await cases(stage).halt_payouts("another", "bob")
        breaker = await stage.ledger.find_record(records.BREAKER, records.PAYOUTS)
        assert breaker is not None
        assert (breaker.state, breaker.text("reason")) == ("HALTED", f"eve: reason {number}")
        assert await cases(stage).resume_payouts("bob")
        assert not await cases(stage).resume_payouts("eve")


class Refusing:
    """A gateway of a platform that may not transfer."""

    def __init__(self, gateway: PaymentGateway) -> None:
        self._gateway = gateway

    def __getattr__(self, name: str) -> object:
        return getattr(self._gateway, name)

    async def create_transfer(self, *_: object) -> Transfer:
        raise PaymentRefused("the platform may not", "not_allowed")


async def test_a_payout_that_is_refused_for_good_is_taken_back_at_once(stage: Stage) -> None:
    await stage.ready(PAYABLE)
    refused = Stage(stage.ledger, stage.clock, stage.stripe, Refusing(stage.gateway))  # type: ignore[arg-type]
    await refused.payouts.look()
    assert await stage.alerts() == ["payout:refused:not_allowed"]
    assert await refused.payouts.take_back((await stage.payout()).id, "eve")
    assert await stage.balances() == {"P": PAYABLE}


@ON_EVERY_LEDGER
async def test_a_payout_is_not_taken_back_while_its_transfer_may_be_on_its_way(stage: Stage) -> None:
    await stage.ready(PAYABLE)
    stage.stripe.faults.next(TRANSFER, Fault.LOST_REQUEST)
    await stage.payouts.look()
    payout_id = (await stage.payout()).id
    await cases(stage).halt_payouts("nothing may leave", "eve")
    with pytest.raises(WrongState) as too_early:
        await stage.payouts.take_back(payout_id, "eve")
    assert "later" in str(too_early.value)
    assert await stage.balances() == {"PO": PAYABLE}

    stage.clock.advance_ms(22 * HOUR_MS)
    assert await stage.payouts.take_back(payout_id, "eve")
    assert not await stage.payouts.take_back(payout_id, "eve")
    assert (await stage.payout(payout_id)).state == "CANCELLED"
    assert await stage.balances() == {"P": PAYABLE}
    assert stage.transfers() == 0


@ON_EVERY_LEDGER
async def test_a_payout_that_waits_is_taken_back_at_once(stage: Stage) -> None:
    payout_id = await initiated(stage)
    assert await stage.payouts.take_back(payout_id, "eve")
    assert await stage.balances() == {"P": PAYABLE}


async def test_a_payout_that_was_transferred_is_not_taken_back(stage: Stage) -> None:
    await stage.ready(PAYABLE)
    stage.stripe.faults.next(TRANSFER, Fault.LOST_REPLY)
    await stage.payouts.look()
    payout_id = (await stage.payout()).id
    assert (await stage.payout()).state == "INITIATED"
    for _ in range(2):  # it is found, and stays
        with pytest.raises(WrongState):
            await stage.payouts.take_back(payout_id, "eve")
        assert (await stage.payout(payout_id)).state == "TRANSFERRED"
    with pytest.raises(UnknownPayout):
        await stage.payouts.take_back("none", "eve")
    assert stage.transfers() == 1
