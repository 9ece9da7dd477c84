"""What the gateway makes of a payment provider that fails: nothing done twice, and never a wrong "failed"."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from gollem.config import PaymentsConfig
from gollem.errors import InvariantBroken, OutcomeUnknown, PaymentFault, PaymentRefused, PaymentsUnavailable
from gollem.payments import stripe_gateway
from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import Agreement, PaymentOrder, PaymentStatus
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe, Fault
from tests.until import until

KEY = "intent:0"
DAY_MS = 86_400_000


class Scene:
    """A payment that succeeded, one that waits, an account that can be paid and has been paid."""

    def __init__(self, gateway: StripeGateway, stripe: FakeStripe) -> None:
        self.gateway = gateway
        self.stripe = stripe
        self.since_ms = 0

    async def set(self) -> "Scene":
        self.paid_id = await self._order("old-1")
        self.stripe.pay(self.paid_id)
        self.waiting_id = await self._order("old-2")
        self.stripe.top_up(100_000)
        account = await self.gateway.create_account("seller-0", "US", Agreement.FULL, "account-0")
        self.connected_id = account.connected_id
        self.stripe.verify_account(self.connected_id)
        sent = await self.gateway.create_transfer("po-0", self.connected_id, 5_000, "transfer-0")
        self.transfer_id = sent.transfer_id
        return self

    async def _order(self, purchase_id: str) -> str:
        return (await self.gateway.create_payment(PaymentOrder(purchase_id, 2_500), purchase_id)).payment.payment_id


@dataclass(frozen=True)
class Write:
    """One thing asked for under a key. `look_up` is what `find_...` says, `count` how often it has been done."""

    route: str
    act: Callable[[Scene, str], Awaitable[object]]
    look_up: Callable[[Scene], Awaitable[object | None]]
    count: Callable[[Scene], int]


def made(kind: str, before: int, *, connected: bool = False) -> Callable[[Scene], int]:
    return lambda scene: len(scene.stripe.all(kind, scene.connected_id if connected else "")) - before


async def cancelled(scene: Scene) -> object | None:
    found = await scene.gateway.payment(scene.waiting_id)
    return found if found and found.status is PaymentStatus.CANCELLED else None


async def reversed_back(scene: Scene) -> object | None:
    found = await scene.gateway.transfer(scene.transfer_id)
    return found if found and found.reversed_cents else None


WRITES = {
    "payment": Write(
        "POST /v1/payment_intents",
        lambda scene, key: scene.gateway.create_payment(PaymentOrder("buy-1", 1_000), key),
        lambda scene: scene.gateway.find_payment("buy-1", scene.since_ms),
        made("payment_intent", before=2),
    ),
    "cancel": Write(
        "POST /v1/payment_intents/{id}/cancel",
        lambda scene, key: scene.gateway.cancel_payment(scene.waiting_id, key),
        cancelled,
        lambda scene: [event["type"] for event in scene.stripe.all("event")].count("payment_intent.canceled"),
    ),
    "refund": Write(
        "POST /v1/refunds",
        lambda scene, key: scene.gateway.create_refund(scene.paid_id, "back-1", 700, key),
        lambda scene: scene.gateway.find_refund(scene.paid_id, "back-1"),
        made("refund", before=0),
    ),
    "account": Write(
        "POST /v1/accounts",
        lambda scene, key: scene.gateway.create_account("seller-1", "US", Agreement.FULL, key),
        lambda scene: scene.gateway.find_account("seller-1", scene.since_ms),
        made("account", before=1),
    ),
    "transfer": Write(
        "POST /v1/transfers",
        lambda scene, key: scene.gateway.create_transfer("po-1", scene.connected_id, 1_000, key),
        lambda scene: scene.gateway.find_transfer("po-1"),
        made("transfer", before=1),
    ),
    "reversal": Write(
        "POST /v1/transfers/{id}/reversals",
        lambda scene, key: scene.gateway.reverse_transfer(scene.transfer_id, key),
        reversed_back,
        made("transfer_reversal", before=0),
    ),
    "bank payout": Write(
        "POST /v1/payouts",
        lambda scene, key: scene.gateway.create_bank_payout(scene.connected_id, "po-0", 1, 1_000, key),
        lambda scene: scene.gateway.find_bank_payout(scene.connected_id, "po-0", 1),
        made("payout", before=0, connected=True),
    ),
}


@pytest.fixture
async def scene(gateway: StripeGateway, stripe: FakeStripe) -> Scene:
    return await Scene(gateway, stripe).set()


@pytest.fixture(params=list(WRITES))
def write(request: pytest.FixtureRequest) -> Write:
    return WRITES[request.param]


@pytest.fixture
async def hasty(
    config: PaymentsConfig, clock: FakeClock, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """The same scene, whose gateway waits for a moment only."""
    monkeypatch.setattr(stripe_gateway, "_TIMEOUT_S", 0.15)
    scene.gateway = StripeGateway(config, clock)
    yield scene
    await scene.gateway.close()


async def test_the_same_key_does_it_once(scene: Scene, write: Write) -> None:
    assert await write.look_up(scene) is None
    first = await write.act(scene, KEY)
    assert await write.act(scene, KEY) == first
    assert write.count(scene) == 1
    assert await write.look_up(scene) is not None


async def test_a_lost_request_was_not_done_and_the_same_key_does_it(scene: Scene, write: Write) -> None:
    scene.stripe.faults.next(write.route, Fault.LOST_REQUEST)
    with pytest.raises(OutcomeUnknown):
        await write.act(scene, KEY)
    assert await write.look_up(scene) is None
    await write.act(scene, KEY)
    assert write.count(scene) == 1


async def test_a_lost_reply_is_found_and_the_same_key_answers_it(scene: Scene, write: Write) -> None:
    scene.stripe.faults.next(write.route, Fault.LOST_REPLY)
    with pytest.raises(OutcomeUnknown) as caught:
        await write.act(scene, KEY)
    assert not isinstance(caught.value, PaymentFault)
    assert await write.look_up(scene) is not None
    await write.act(scene, KEY)
    assert write.count(scene) == 1


@pytest.mark.parametrize(("fault", "was_done"), [(Fault.ERROR_BEFORE, False), (Fault.ERROR_AFTER, True)])
async def test_a_500_is_repeated_under_its_key_and_looked_up(
    scene: Scene, write: Write, fault: Fault, was_done: bool
) -> None:
    scene.stripe.faults.next(write.route, fault)
    for _ in range(2):
        with pytest.raises(PaymentFault):
            await write.act(scene, KEY)
    assert (await write.look_up(scene) is not None) is was_done
    assert write.count(scene) == int(was_done)
    if not was_done:
        await write.act(scene, "intent:1")
        assert write.count(scene) == 1


async def test_429_did_nothing_and_the_same_key_does_it(scene: Scene, write: Write) -> None:
    scene.stripe.faults.next(write.route, Fault.RATE_LIMITED)
    with pytest.raises(PaymentsUnavailable):
        await write.act(scene, KEY)
    assert write.count(scene) == 0
    await write.act(scene, KEY)
    assert write.count(scene) == 1


async def test_no_reply_in_time_is_unknown_and_found(hasty: Scene, write: Write) -> None:
    hasty.stripe.faults.next(write.route, Fault.SILENT)
    with pytest.raises(OutcomeUnknown):
        await write.act(hasty, KEY)
    assert await write.look_up(hasty) is not None
    await write.act(hasty, KEY)
    assert write.count(hasty) == 1


async def test_what_is_still_in_the_works_is_unknown_until_it_is_done(hasty: Scene, write: Write) -> None:
    hasty.stripe.faults.next(write.route, Fault.SLOW)
    for _ in range(2):  # no answer in time, then 409: the key is in use
        with pytest.raises(OutcomeUnknown):
            await write.act(hasty, KEY)
    assert await write.look_up(hasty) is None
    hasty.stripe.faults.release()
    await until(lambda: write.count(hasty) == 1)
    await write.act(hasty, KEY)
    assert write.count(hasty) == 1


async def test_after_a_day_the_same_key_would_do_it_twice(scene: Scene, clock: FakeClock) -> None:
    """Why keys are renewed in time, and what was done is looked up first."""
    write = WRITES["transfer"]
    await write.act(scene, KEY)
    clock.advance_ms(DAY_MS + 1_000)
    await write.act(scene, KEY)
    assert write.count(scene) == 2


async def test_a_key_used_for_something_else_is_our_own_mistake(scene: Scene) -> None:
    await scene.gateway.create_transfer("po-1", scene.connected_id, 1_000, KEY)
    with pytest.raises(InvariantBroken):
        await scene.gateway.create_transfer("po-1", scene.connected_id, 1_001, KEY)
    assert WRITES["transfer"].count(scene) == 1


async def test_a_refusal_is_kept_under_its_key(scene: Scene) -> None:
    """Although there is money by now."""
    for cents in (0, 1_000_000):
        if cents:
            scene.stripe.top_up(cents)
        with pytest.raises(PaymentRefused) as caught:
            await scene.gateway.create_transfer("po-1", scene.connected_id, 200_000, KEY)
        assert caught.value.code == "balance_insufficient"
    await scene.gateway.create_transfer("po-1", scene.connected_id, 200_000, "intent:1")


async def test_a_look_that_fails_is_no_answer(scene: Scene, write: Write) -> None:
    scene.stripe.faults.dice = lambda route: Fault.RATE_LIMITED if route.startswith("GET ") else None
    with pytest.raises(PaymentsUnavailable):
        await write.look_up(scene)


async def test_a_server_that_is_not_there_did_nothing(hasty: Scene, write: Write) -> None:
    """A gateway with no connection left over, over which something might have gone."""
    await hasty.stripe.stop()
    with pytest.raises(PaymentsUnavailable):
        await write.act(hasty, KEY)
