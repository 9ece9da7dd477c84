"""What only the local gateway does: pages for people, webhooks of its own, a state that outlives it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gollem.errors import PaymentRefused, Unauthenticated
from gollem.payments.local_gateway import LocalGateway
from gollem.payments.local_webhooks import TRIES_MAX
from gollem.payments.types import Agreement, BankPayoutStatus, Event, NewPayment, PaymentOrder, PaymentStatus
from tests.fakes.clock import FakeClock
from tests.until import until

ORDER = PaymentOrder("buy-1", 2_550)


class Bridge:
    """Where the gateway's pages are, and who takes its webhooks; `refuses` so many of them first."""

    def __init__(self, gateway: LocalGateway) -> None:
        self.told: list[Event] = []
        self.knocks = 0
        self.refuses = 0
        self._gateway = gateway
        app = web.Application()
        app.add_routes([*gateway.routes(), web.post("/webhooks/stripe", self._webhook)])
        self._runner = web.AppRunner(app)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _webhook(self, request: web.Request) -> web.Response:
        self.knocks += 1
        event = self._gateway.read_event(await request.read(), request.headers["Stripe-Signature"])
        if self.knocks <= self.refuses:
            return web.Response(status=503)
        self.told.append(event)
        return web.Response()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "local-payments.db"


@pytest.fixture
async def gateway(path: Path, clock: FakeClock) -> AsyncIterator[LocalGateway]:
    opened = LocalGateway(path, clock, retry_s=0)
    yield opened
    await opened.close()


@pytest.fixture
async def bridge(gateway: LocalGateway) -> AsyncIterator[Bridge]:
    started = Bridge(gateway)
    await started.start()
    gateway.tell(started.url)
    yield started
    await gateway.close()
    await started.stop()


async def text_of(method: str, url: str, status: int = 200, **more: object) -> str:
    async with aiohttp.ClientSession() as session, session.request(method, url, **more) as answer:  # type: ignore[arg-type]
        assert answer.status == status
        return await answer.text()


async def made(gateway: LocalGateway) -> NewPayment:
    return await gateway.create_payment(ORDER, "purchase.buy-1:0")


async def status(gateway: LocalGateway, payment: NewPayment) -> PaymentStatus:
    found = await gateway.payment(payment.payment.payment_id)
    assert found is not None
    return found.status


# --- pages


async def test_a_person_pays_by_pressing_the_button(gateway: LocalGateway, bridge: Bridge) -> None:
    payment = await made(gateway)
    page = await text_of("GET", payment.pay_url)
    assert "25.50 USD" in page
    assert payment.client_secret in page
    assert await status(gateway, payment) is PaymentStatus.WAITING, "to look is not to pay"
    page = await text_of("POST", f"{bridge.url}/local/pay", data={"client_secret": payment.client_secret})
    assert "succeeded" in page
    assert "<button>" not in page
    assert await status(gateway, payment) is PaymentStatus.SUCCEEDED


async def test_a_program_pays_with_the_client_secret(gateway: LocalGateway, bridge: Bridge) -> None:
    payment = await made(gateway)
    answer = await text_of("POST", f"{bridge.url}/local/pay", json={"client_secret": payment.client_secret})
    assert '"status": "succeeded"' in answer


async def test_whoever_does_not_know_the_secret_pays_nothing(gateway: LocalGateway, bridge: Bridge) -> None:
    payment = await made(gateway)
    for secret in (f"{payment.payment.payment_id}_secret_", payment.client_secret[:-1], "nonsense", "é"):
        await text_of("POST", f"{bridge.url}/local/pay", 404, json={"client_secret": secret})
    for body in ({"json": {}}, {"json": []}, {"data": b"{"}, {"data": {"a": "b"}}):
        await text_of("POST", f"{bridge.url}/local/pay", 400, **body)
    await text_of("GET", f"{bridge.url}/local/pay/pi_of_nobody", 404)
    await text_of("GET", f"{bridge.url}/local/onboarding/acct_of_nobody", 404)
    assert await status(gateway, payment) is PaymentStatus.WAITING


async def test_paying_twice_is_paying_once(gateway: LocalGateway, bridge: Bridge) -> None:
    payment = await made(gateway)
    first = gateway.pay(payment.client_secret)
    assert gateway.pay(payment.client_secret) == first
    assert len((await gateway.movements_since(0)).items) == 1


async def test_a_cancelled_payment_cannot_be_paid(gateway: LocalGateway, bridge: Bridge) -> None:
    payment = await made(gateway)
    await gateway.cancel_payment(payment.payment.payment_id, "cancel")
    paid = gateway.pay(payment.client_secret)
    assert paid is not None
    assert paid.status is PaymentStatus.CANCELLED
    assert (await gateway.funds()).cents == 0


async def test_an_account_is_ready_once_its_page_was_opened(gateway: LocalGateway, bridge: Bridge) -> None:
    account = await gateway.create_account("seller", "US", Agreement.FULL, "account")
    url = await gateway.onboarding_url(account.connected_id, 'https://example.com/?a="><script>')
    page = await text_of("GET", url)
    assert 'href="https://example.com/?a=&quot;&gt;&lt;script&gt;"' in page
    ready = await gateway.account(account.connected_id)
    assert ready is not None
    assert (ready.can_be_paid, ready.blocked_by) == (True, "")
    await until(lambda: [event.type for event in bridge.told] == ["account.updated"])
    assert bridge.told[0].connected_id == account.connected_id


async def test_a_way_back_that_is_no_web_address_is_no_link(gateway: LocalGateway, bridge: Bridge) -> None:
    account = await gateway.create_account("seller", "US", Agreement.FULL, "account")
    page = await text_of("GET", await gateway.onboarding_url(account.connected_id, "javascript:alert(1)"))
    assert "javascript" not in page


# --- webhooks


async def test_what_happens_is_told_signed(gateway: LocalGateway, bridge: Bridge) -> None:
    payment = await made(gateway)
    gateway.pay(payment.client_secret)
    await until(lambda: bridge.told)
    (event,) = bridge.told
    assert (event.type, event.object_id) == ("payment_intent.succeeded", payment.payment.payment_id)
    assert event.about == {"purchase_id": "buy-1"}
    assert (await gateway.events_since(0)).items == [event]


async def test_what_nobody_took_is_told_again(gateway: LocalGateway, bridge: Bridge) -> None:
    bridge.refuses = 2
    gateway.pay((await made(gateway)).client_secret)
    await until(lambda: bridge.told)
    assert bridge.knocks == 3


async def test_what_is_never_taken_is_told_a_few_times_only(gateway: LocalGateway, bridge: Bridge) -> None:
    bridge.refuses = TRIES_MAX
    gateway.pay((await made(gateway)).client_secret)
    await until(lambda: bridge.knocks == TRIES_MAX)
    await gateway.create_customer("alice", "customer")
    await gateway.cancel_payment(
        (await gateway.create_payment(PaymentOrder("buy-2", 500), "k")).payment.payment_id, "c"
    )
    await until(lambda: bridge.told)
    assert [event.type for event in bridge.told] == ["payment_intent.canceled"]
    assert bridge.knocks == TRIES_MAX + 1


async def test_what_was_not_told_before_a_restart_is_told_after_it(path: Path, clock: FakeClock) -> None:
    before = LocalGateway(path, clock)
    before.pay((await made(before)).client_secret)  # there is no bridge yet
    await before.close()
    after = LocalGateway(path, clock, retry_s=0)
    bridge = Bridge(after)
    await bridge.start()
    after.tell(bridge.url)
    await until(lambda: bridge.told)
    await after.close()
    await bridge.stop()


async def test_another_files_signature_is_none(gateway: LocalGateway, bridge: Bridge, tmp_path: Path) -> None:
    stranger = LocalGateway(tmp_path / "other.db", FakeClock())
    with pytest.raises(Unauthenticated):
        stranger.read_event(b"{}", "t=1700000000,v1=00")
    gateway.pay((await made(gateway)).client_secret)
    await until(lambda: bridge.told)
    await stranger.close()


# --- state and books


async def test_state_outlives_the_gateway(path: Path, clock: FakeClock) -> None:
    before = LocalGateway(path, clock)
    payment = await made(before)
    paid = before.pay(payment.client_secret)
    assert paid is not None
    await before.close()
    after = LocalGateway(path, clock)
    assert await after.payment(paid.payment_id) == paid
    again = await made(after)
    assert (again.payment, again.client_secret) == (payment.payment, payment.client_secret), "as it was answered then"
    assert (await after.funds()).cents == 2_550 - 26
    await after.close()


async def test_its_file_is_for_its_owner_alone(gateway: LocalGateway, path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0


async def test_a_refusal_is_repeated_under_its_key(gateway: LocalGateway) -> None:
    account = await gateway.create_account("seller", "US", Agreement.FULL, "account")
    gateway.complete(account.connected_id)
    for _ in range(2):
        with pytest.raises(PaymentRefused, match="balance_insufficient"):
            await gateway.create_transfer("po-1", account.connected_id, 100, "transfer.po-1:0")
        gateway.pay((await made(gateway)).client_secret)
    sent = await gateway.create_transfer("po-1", account.connected_id, 100, "transfer.po-1:1")
    assert sent.cents == 100


async def test_a_bank_payout_arrives_after_a_moment(gateway: LocalGateway, clock: FakeClock) -> None:
    account = await gateway.create_account("seller", "US", Agreement.FULL, "account")
    gateway.complete(account.connected_id)
    gateway.pay((await made(gateway)).client_secret)
    await gateway.create_transfer("po-1", account.connected_id, 2_000, "transfer")
    sent = await gateway.create_bank_payout(account.connected_id, "po-1", 0, 1_500, "bank")
    assert await gateway.bank_payouts_under_way(account.connected_id) == [sent]
    assert (await gateway.funds(account.connected_id)).cents == 500
    clock.advance_ms(1_000)
    arrived = await gateway.bank_payout(account.connected_id, sent.bank_payout_id)
    assert arrived is not None
    assert arrived.status is BankPayoutStatus.PAID
    assert await gateway.bank_payouts_under_way(account.connected_id) == []
    assert (await gateway.funds(account.connected_id)).cents == 500
    assert await gateway.bank_payout("acct_of_another", sent.bank_payout_id) is None


async def test_what_has_left_for_a_bank_is_not_reversed(gateway: LocalGateway) -> None:
    account = await gateway.create_account("seller", "US", Agreement.FULL, "account")
    gateway.complete(account.connected_id)
    gateway.pay((await made(gateway)).client_secret)
    sent = await gateway.create_transfer("po-1", account.connected_id, 2_000, "transfer")
    await gateway.create_bank_payout(account.connected_id, "po-1", 0, 1_500, "bank")
    with pytest.raises(PaymentRefused, match="balance_insufficient"):
        await gateway.reverse_transfer(sent.transfer_id, "reverse")


async def test_a_bank_gets_no_more_than_the_account_has(gateway: LocalGateway) -> None:
    account = await gateway.create_account("seller", "US", Agreement.FULL, "account")
    gateway.complete(account.connected_id)
    gateway.pay((await made(gateway)).client_secret)
    await gateway.create_transfer("po-1", account.connected_id, 2_000, "transfer")
    with pytest.raises(PaymentRefused, match="balance_insufficient"):
        await gateway.create_bank_payout(account.connected_id, "po-1", 0, 2_001, "bank-0")
    sent = await gateway.create_bank_payout(account.connected_id, "po-1", 1, 2_000, "bank-1")
    assert sent.status is BankPayoutStatus.UNDER_WAY


async def test_refunds_are_bounded_by_the_payment_not_by_the_balance(gateway: LocalGateway) -> None:
    payment = await made(gateway)
    gateway.pay(payment.client_secret)
    other = await gateway.create_payment(PaymentOrder("buy-2", 90_000), "purchase.buy-2:0")
    gateway.pay(other.client_secret)
    await gateway.create_refund(payment.payment.payment_id, "back-1", 2_000, "back-1")
    with pytest.raises(PaymentRefused, match="charge_already_refunded"):
        await gateway.create_refund(payment.payment.payment_id, "back-2", 551, "back-2")


async def test_pages_follow_each_other_newest_first(gateway: LocalGateway, clock: FakeClock) -> None:
    made_ids = []
    for number in range(250):
        order = PaymentOrder(f"buy-{number}", 500)
        made_ids.append((await gateway.create_payment(order, f"k-{number}")).payment.payment_id)
    seen, page = [], await gateway.payments_since(0)
    while page.next:
        seen += page.items
        page = await gateway.payments_since(0, page.next)
    seen += page.items
    assert [payment.payment_id for payment in seen] == made_ids[::-1]
    assert (await gateway.payments_since(clock.now_ms() + 1_000)).items == []
