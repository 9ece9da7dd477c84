"""Events: stored once before anybody is told, handled until they are done, and none is lost."""

import asyncio
import logging

import pytest

from gollem.errors import Forbidden, InvalidField, LedgerUnavailable, Unauthenticated, WrongState
from gollem.ledger import Record, records
from gollem.payments import inbox
from gollem.payments.inbox import MAX_TRIES, Inbox
from gollem.payments.types import Event, Page
from gollem.payments.watermark import MAX_PAGES, Watermark
from tests.fakes.stripe import Fault
from tests.payments.shop import DAY_MS, MINUTE_MS, ON_EVERY_LEDGER, ON_ONE_LEDGER, USD, Shop

LONGEST_MS = 7 * 3_600_000


class Handler:
    """Fails while it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[str] = []
        self.error = error

    async def __call__(self, event: Event) -> None:
        self.seen.append(event.object_id)
        if self.error:
            raise self.error


async def tell(
    shop: Shop, to: Inbox, object_id: str = "thing_1", kind: str = "made.now", event_id: str = "evt_1"
) -> bool:
    secret = shop.stripe.webhooks.platform_secrets[0]
    raw, signature = shop.stripe.webhooks.forge(kind, {"id": object_id}, secret=secret, event_id=event_id)
    return await to.receive(raw, signature)


async def waiting(shop: Shop, state: str = "NEW") -> list[Record]:
    return await shop.ledger.records(records.EVENT, state)


# --- storing --------------------------------------------------------------------------------------------------------


@ON_EVERY_LEDGER
async def test_fault_42_fifty_copies_of_one_event_have_one_effect(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.webhooks.take()
    shop.stripe.pay(created.purchase.text("payment_id"))
    [(raw, signature)] = [told for told in shop.stripe.webhooks.take() if b"payment_intent.succeeded" in told[0]]
    servers = [Shop(shop.ledger, shop.gateway, shop.clock, shop.stripe) for _ in range(5)]

    told = await asyncio.gather(*(servers[copy % 5].inbox.receive(raw, signature) for copy in range(50)))
    assert sorted(told) == [False] * 49 + [True]
    assert sum(await asyncio.gather(*(server.inbox.work() for server in servers))) == 1
    assert await shop.available() == 25 * USD
    assert await waiting(shop) == []


@ON_EVERY_LEDGER
async def test_fault_41_what_stripe_did_not_sign_is_not_stored(shop: Shop) -> None:
    webhooks = shop.stripe.webhooks
    secret = webhooks.platform_secrets[0]
    now_s = shop.clock.now_ms() // 1_000
    thing = {"id": "pi_1", "object": "payment_intent", "metadata": {}}
    forged = [
        webhooks.forge("payment_intent.succeeded", thing),
        webhooks.forge("payment_intent.succeeded", thing, secret=secret, at_s=now_s - 301),
        webhooks.forge("payment_intent.succeeded", thing, secret=secret, at_s=now_s + 301),
        webhooks.forge("payment_intent.succeeded", thing, secret=secret, livemode=True),
        webhooks.forge("payment_intent.succeeded", thing, secret=""),
        (webhooks.forge("payment_intent.succeeded", thing, secret=secret)[0], ""),
    ]
    for raw, signature in forged:
        with pytest.raises((Unauthenticated, Forbidden)):
            await shop.inbox.receive(raw, signature)
    assert await waiting(shop) == []


@ON_ONE_LEDGER
async def test_an_event_that_cannot_be_stored_is_refused(shop: Shop) -> None:
    for bad in ({"event_id": "evt 1"}, {"kind": "made." + "x" * 1_024}, {"object_id": "x" * 1_025}):
        with pytest.raises(InvalidField):
            await tell(shop, shop.inbox, **bad)


@ON_ONE_LEDGER
async def test_metadata_that_is_too_long_is_left_out(shop: Shop) -> None:
    seen = []

    async def handle(event: Event) -> None:
        seen.append(event.about)

    box = Inbox(shop.ledger, shop.gateway, {"made.": handle}, shop.clock)
    for number, text in enumerate(("short", "x" * 2_000)):
        thing = {"id": "thing_1", "metadata": {"payout_id": text}}
        secret = shop.stripe.webhooks.platform_secrets[0]
        await box.receive(*shop.stripe.webhooks.forge("made.now", thing, secret=secret, event_id=f"evt_{number}"))
    assert await box.work() == 2
    assert seen == [{"payout_id": "short"}, {}]


async def test_an_event_that_nobody_handles_is_done(shop: Shop) -> None:
    handler = Handler()
    box = Inbox(shop.ledger, shop.gateway, {"made.": handler}, shop.clock)
    assert await tell(shop, box, kind="invoice.paid") is True
    assert await tell(shop, box, kind="invoice.paid") is False
    assert (await waiting(shop), await box.work(), handler.seen) == ([], 0, [])


@ON_ONE_LEDGER
async def test_the_longest_beginning_of_a_type_handles_it(shop: Shop) -> None:
    one, other = Handler(), Handler()
    box = Inbox(shop.ledger, shop.gateway, {"charge.": one, "charge.dispute.": other}, shop.clock)
    await tell(shop, box, "dp_1", "charge.dispute.created", "evt_1")
    await tell(shop, box, "ch_1", "charge.updated", "evt_2")
    assert await box.work() == 2
    assert (one.seen, other.seen) == (["ch_1"], ["dp_1"])


# --- handling -------------------------------------------------------------------------------------------------------


@ON_EVERY_LEDGER
async def test_fault_46_a_crash_between_the_steps_is_harmless(shop: Shop) -> None:
    """Stored, and nothing more; booked, and not marked as done: another server finishes."""
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.pay(payment_id)
    await shop.tell()
    await shop.purchases.refresh(payment_id)  # booked by a server that died then
    assert await shop.available() == 25 * USD

    heir = Shop(shop.ledger, shop.gateway, shop.clock, shop.stripe)
    await heir.catch_up()
    assert await shop.available() == 25 * USD
    assert await waiting(shop) == []


@ON_EVERY_LEDGER
async def test_the_oldest_are_handled_first(shop: Shop) -> None:
    handler = Handler()
    box = Inbox(shop.ledger, shop.gateway, {"made.": handler}, shop.clock)
    for name in ("evt_c", "evt_b", "evt_a"):
        await tell(shop, box, name, event_id=name)
        shop.clock.advance_ms(1_000)
    await box.work()
    assert handler.seen == ["evt_c", "evt_b", "evt_a"]


async def test_one_that_fails_is_tried_later_and_keeps_no_other_waiting(shop: Shop) -> None:
    bad, good = Handler(KeyError("whsec_secret")), Handler()
    box = Inbox(shop.ledger, shop.gateway, {"bad.": bad, "good.": good}, shop.clock)
    await tell(shop, box, kind="bad.one", event_id="evt_1")
    await tell(shop, box, kind="good.one", event_id="evt_2")
    assert await box.work() == 1
    assert await box.work() == 0  # it rests
    assert (len(bad.seen), len(good.seen)) == (1, 1)

    bad.error = None
    shop.clock.advance_ms(MINUTE_MS)
    assert await box.work() == 1
    assert await waiting(shop) == []


@ON_EVERY_LEDGER
async def test_pauses_grow_and_a_hopeless_event_dies_with_one_alert(shop: Shop) -> None:
    handler = Handler(LedgerUnavailable("away"))
    box = Inbox(shop.ledger, shop.gateway, {"made.": handler}, shop.clock)
    await tell(shop, box)
    began_ms, pauses_ms = shop.clock.now_ms(), []
    for _ in range(MAX_TRIES + 1):
        await box.work()
        pauses_ms.append(max((one.number("due_ms") for one in await waiting(shop)), default=0) - shop.clock.now_ms())
        shop.clock.advance_ms(max(pauses_ms[-1], 0))
    assert len(handler.seen) == MAX_TRIES
    assert pauses_ms[:4] == [15_000, 30_000, 60_000, 120_000]
    assert pauses_ms[:MAX_TRIES] == sorted(pauses_ms[:MAX_TRIES])
    assert DAY_MS < shop.clock.now_ms() - began_ms < 4 * DAY_MS
    assert await shop.alerts() == ["event:evt_1"]

    [dead] = await waiting(shop, "DEAD")
    handler.error = None
    assert await box.revive(dead.id, "eve")
    assert [one.text("revived_by") for one in await waiting(shop)] == ["eve"]
    assert await box.work() == 1
    with pytest.raises(WrongState):
        await box.revive(dead.id, "eve")


@ON_EVERY_LEDGER
async def test_an_event_that_kills_its_server_is_counted_too(shop: Shop) -> None:
    class DeadError(BaseException):
        pass

    async def kill(event: Event) -> None:
        raise DeadError

    box = Inbox(shop.ledger, shop.gateway, {"made.": kill}, shop.clock)
    await tell(shop, box)
    for _ in range(MAX_TRIES):
        with pytest.raises(DeadError):
            await box.work()
        shop.clock.advance_ms(LONGEST_MS)
    assert await box.work() == 0
    assert len(await waiting(shop, "DEAD")) == 1


@ON_ONE_LEDGER
async def test_what_strangers_errors_say_is_not_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    box = Inbox(shop.ledger, shop.gateway, {"made.": Handler(KeyError("pi_1_secret_2"))}, shop.clock)
    await tell(shop, box)
    with caplog.at_level(logging.DEBUG):
        await box.work()
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text


@ON_EVERY_LEDGER
async def test_many_that_rest_do_not_hide_those_behind(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "PAGE", 2)
    monkeypatch.setattr(inbox, "MAX_PAGES", 2)
    bad, good = Handler(LedgerUnavailable("away")), Handler()
    box = Inbox(shop.ledger, shop.gateway, {"bad.": bad, "good.": good}, shop.clock)
    for number in range(9):
        await tell(shop, box, kind="bad.one", event_id=f"evt_{number}")
    for _ in range(3):
        await box.work()
    assert len(bad.seen) == 9
    shop.clock.advance_ms(1_000)
    await tell(shop, box, kind="good.one", event_id="evt_good")
    for _ in range(4):
        await box.work()
    assert (len(bad.seen), len(good.seen)) == (9, 1)


# --- polling --------------------------------------------------------------------------------------------------------


@ON_EVERY_LEDGER
async def test_fault_45_an_endpoint_dead_for_days_loses_nothing(shop: Shop) -> None:
    """Longer than Stripe tells anything again: events it lists still, and payments."""
    await shop.inbox.poll()
    created = [await shop.purchases.create("alice", f"buy-{number}", 500) for number in range(3)]
    for one in created:
        shop.stripe.pay(one.purchase.text("payment_id"))
        shop.clock.advance_ms(MINUTE_MS)
    shop.stripe.webhooks.take()  # told, and nobody was there
    shop.clock.advance_ms(4 * DAY_MS)

    heir = Shop(shop.ledger, shop.gateway, shop.clock, shop.stripe)
    assert await heir.inbox.poll() > 0
    while await heir.inbox.work():
        pass
    assert await shop.available() == 15 * USD
    shop.clock.advance_ms(5 * MINUTE_MS)
    assert await heir.inbox.poll() == 0


async def test_fault_45_a_payment_that_no_event_tells_of(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 500)
    shop.stripe.pay(created.purchase.text("payment_id"))

    async def nothing(since_ms: int, page: str = "") -> Page[Event]:
        return Page([])

    box = shop.with_gateway(events_since=nothing).inbox
    assert await box.poll() == 1
    assert await box.work() == 1
    assert await shop.available() == 5 * USD
    assert await box.poll() == 0


@ON_ONE_LEDGER
async def test_poll_stores_nothing_of_what_is_credited(shop: Shop) -> None:
    await shop.buy()
    shop.clock.advance_ms(MINUTE_MS)

    async def nothing(since_ms: int, page: str = "") -> Page[Event]:
        return Page([])

    assert await shop.with_gateway(events_since=nothing).inbox.poll() == 0


@ON_ONE_LEDGER
async def test_poll_stores_what_is_handled_and_no_more(shop: Shop) -> None:
    now_ms = shop.clock.now_ms()
    listed = [
        Event("evt_1", "made.now", "thing_1", now_ms, livemode=False),
        Event("evt 2", "made.now", "thing_2", now_ms, livemode=False),
        Event("evt_3", "invoice.paid", "in_1", now_ms, livemode=False),
    ]

    async def page(since_ms: int, page: str = "") -> Page[Event]:
        return Page(listed)

    gateway = shop.with_gateway(events_since=page).gateway
    handler = Handler()
    box = Inbox(shop.ledger, gateway, {"made.": handler}, shop.clock)
    assert await box.poll() == 1
    assert await box.work() == 1
    assert handler.seen == ["thing_1"]
    assert await shop.ledger.find_record(records.EVENT, f"{now_ms:015d}.evt_3") is None


async def test_poll_that_breaks_off_reads_it_again(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 500)
    shop.stripe.pay(created.purchase.text("payment_id"))
    shop.stripe.faults.next("GET /v1/events", Fault.RATE_LIMITED)
    with pytest.raises(Exception, match="busy"):
        await shop.inbox.poll()
    assert await shop.ledger.find_record(records.WATERMARK, "events") is None
    await shop.inbox.poll()
    await shop.inbox.work()
    assert await shop.available() == 5 * USD


class Pages:
    """A list of numbers at a payment provider, the newest first, ten a page; and whoever takes them."""

    def __init__(self, shop: Shop, size: int) -> None:
        self.clock = shop.clock
        self.things = [(shop.clock.now_ms() - number, number) for number in range(size)]
        self.asked_ms: list[int] = []
        self.taken: dict[int, None] = {}
        self.fails_at: int | None = None

    async def read(self, since_ms: int, page: str) -> Page[int]:
        self.asked_ms.append(since_ms)
        start = int(page or 0)
        found = [number for at_ms, number in self.things if at_ms >= since_ms]
        return Page(found[start : start + 10], str(start + 10) if start + 10 < len(found) else "")

    async def take(self, number: int) -> bool:
        if number == self.fails_at:
            raise LedgerUnavailable("away")
        is_new = number not in self.taken
        self.taken[number] = None
        return is_new


async def test_the_mark_moves_when_all_is_taken(shop: Shop) -> None:
    pages = Pages(shop, 35)
    mark = Watermark(shop.ledger, shop.clock, "things", pages.read, pages.take)
    pages.fails_at = 27
    with pytest.raises(LedgerUnavailable):
        await mark.catch_up()
    assert await shop.ledger.find_record(records.WATERMARK, "things") is None
    pages.fails_at = None
    await mark.catch_up()
    assert sorted(pages.taken) == list(range(35))

    known = await shop.ledger.find_record(records.WATERMARK, "things")
    assert known is not None
    assert known.number("at_ms") == shop.clock.now_ms()
    assert min(pages.asked_ms) == shop.clock.now_ms() - 30 * DAY_MS
    shop.clock.advance_ms(MINUTE_MS)
    assert await mark.catch_up() == 0
    assert pages.asked_ms[-1] == known.number("at_ms") - 15 * MINUTE_MS


@ON_ONE_LEDGER
async def test_a_long_list_is_read_in_bounded_steps(shop: Shop) -> None:
    pages = Pages(shop, MAX_PAGES * 10 + 5)
    mark = Watermark(shop.ledger, shop.clock, "things", pages.read, pages.take)
    assert await mark.catch_up() == MAX_PAGES * 10
    began_ms = shop.clock.now_ms()
    assert await shop.ledger.find_record(records.WATERMARK, "things") is None
    shop.clock.advance_ms(DAY_MS)
    assert await mark.catch_up() == 5
    known = await shop.ledger.find_record(records.WATERMARK, "things")
    assert known is not None
    assert known.number("at_ms") == began_ms


@ON_EVERY_LEDGER
async def test_the_mark_never_moves_back(shop: Shop) -> None:
    pages = Pages(shop, 1)
    mark = Watermark(shop.ledger, shop.clock, "things", pages.read, pages.take)
    await mark.catch_up()
    shop.clock.jump_ms(-DAY_MS)
    await mark.catch_up()
    known = await shop.ledger.find_record(records.WATERMARK, "things")
    assert known is not None
    assert known.number("at_ms") == shop.clock.now_ms() + DAY_MS
