"""What is read from the rooms: bounded labels, flows of credits to the atom, and figures of the ledger."""

from collections import Counter

from gollem.clock import DAY_MS
from gollem.config import ProvidersConfig
from gollem.errors import LedgerUnavailable
from gollem.ledger import Hold, Reconciler, Record, records, rules
from gollem.ledger.memory import MemoryLedger
from gollem.observability import Meters, Sample, metrics
from gollem.providers import Promise, Reason, Registry
from gollem.watch import LedgerOperations
from gollem.watch.books import Books
from gollem.watch.sellers import sellers
from tests.fakes.clock import FakeClock

CREDIT = 10**8


def registry_of(providers: int, asks: int = 1) -> Registry:
    """Each provider is slower than the one before."""
    registry = Registry(ProvidersConfig(samples_needed=1))
    for number in range(providers):
        for ask in range(asks):
            promise = Promise((number + 1) * 1_000_000, 10**9 // (number + 1), 1_000, 4)
            registry.register(f"p{number}/a{ask}", f"p{number}", f"m{ask}/cpu", promise, 60, now_ms=1_000)
    return registry


def by_metric(samples: list[Sample]) -> dict[tuple[str, tuple[str, ...]], float]:
    found = {(sample.metric.name, sample.labels): sample.value for sample in samples}
    assert len(found) == len(samples), "a series twice"
    return found


def test_providers_beyond_the_bound_are_told_together_at_their_worst() -> None:
    found = by_metric(list(sellers(registry_of(10), 4_000, max_series=3)))
    promised = {labels: value for (name, labels), value in found.items() if name == metrics.PROVIDER_PROMISED.name}
    assert promised == {("p0", "m0"): 1, ("p1", "m0"): 2, ("p2", "m0"): 3, ("other", "other"): 10}
    assert found[metrics.PROVIDER_THROUGHPUT.name, ("other", "other")] == 4  # the slowest of those that are left
    assert found[metrics.PROVIDER_HEARD.name, ("p0", "m0")] == 3
    assert found[metrics.ASKS.name, ()] == 10
    assert {labels[0] for name, labels in found if name == metrics.PROVIDER_CIRCUIT.name} == {"p0", "p1", "p2"}


def test_asks_of_one_provider_and_model_share_their_labels() -> None:
    registry = registry_of(1)
    registry.register("p0/other", "p0", "m0/h100", Promise(9_000_000, 10**9, 1_000, 4), None, now_ms=1_000)
    found = by_metric(list(sellers(registry, 1_000, max_series=3)))
    assert found[metrics.PROVIDER_PROMISED.name, ("p0", "m0")] == 9


def test_measured_latency_and_the_rate_limit() -> None:
    registry = registry_of(1)
    for latency_ms in (100, 200, 300):
        registry.sampled("p0/a0", latency_ms * 1_000, 10**7, 1_000)
    for _ in range(15):
        registry.order_sent("p0/a0", 1_000)
    found = by_metric(list(sellers(registry, 1_000, max_series=3)))
    quantiles = {quantile: found[metrics.PROVIDER_LATENCY.name, ("p0", "m0", quantile)] for quantile in ("0.5", "0.99")}
    assert quantiles == {"0.5": 0.2, "0.99": 0.3}
    assert found[metrics.PROVIDER_RATE.name, ("p0", "m0")] == 0.25


def test_what_blocks_asks_is_counted_as_it_changes() -> None:
    """Beside a count of all of them, after each of a thousand moves."""
    registry, now_ms = registry_of(5, asks=3), 1_000
    config = ProvidersConfig(samples_needed=1)
    for move in range(1_000):
        now_ms += 700
        provider, ask = f"p{move * 7 % 5}", move % 3
        match move % 4:
            case 0:
                for _ in range(config.circuit_failures):
                    registry.order_failed(provider, now_ms)
            case 1:
                registry.tick(now_ms)
            case 2:
                registry.remove(f"{provider}/a{ask}")
            case _:
                promise = Promise(1, 1, 1, 1)
                registry.register(f"{provider}/a{ask}", provider, f"m{ask}/cpu", promise, 60, now_ms)
        counted = Counter(
            reason for name in registry.providers() for one in registry.sellers_of(name) for reason in one.reasons
        )
        statistics = registry.statistics()
        assert statistics.blocked == {reason: counted[reason] for reason in Reason}
        assert statistics.asks == len(registry)


async def test_flows_of_credits_are_exact_and_replays_do_not_count() -> None:
    meters, now_ms = Meters(), 1_700_000_000_000
    ledger = LedgerOperations(meters).of(MemoryLedger())
    for _ in range(2):
        await ledger.post(rules.grant("g1", "alice", 100 * CREDIT, now_ms))
    holds = [Hold(f"o{n}", "alice", "p1", 10 * CREDIT + 1, now_ms, now_ms + 1, terms="{}") for n in range(3)]
    for hold in holds:
        await ledger.post(rules.hold(hold, "bid", now_ms))
    for _ in range(2):
        await ledger.post(rules.settle(holds[0], 4 * CREDIT, CREDIT, now_ms))
    await ledger.post(rules.void(holds[1], now_ms))
    await ledger.post(rules.expire(holds[2], now_ms + 2))
    totals = meters.totals()
    flows = {flow: totals.sum(metrics.CREDITS.name, flow=flow) for flow in ("granted", "held", "charged", "fee")}
    assert flows == {"granted": 100, "held": 30.00000003, "charged": 4, "fee": 1}
    assert totals.sum(metrics.CREDITS.name, flow="refunded") == 26.00000003
    assert totals.sum(metrics.TRANSACTIONS.name, kind="grant") == 1
    assert totals.sum(metrics.LEDGER_CALLS.name, operation="post", outcome="ok") == 9
    assert (await ledger.audit()).ok


async def test_a_ledger_that_fails_is_counted_by_reason_and_its_figures_grow_old() -> None:
    class Away(MemoryLedger):
        is_away = False

        async def account_atoms(self, account: str) -> int:
            if self.is_away:
                raise LedgerUnavailable("away")
            return await super().account_atoms(account)

    meters, clock, away = Meters(), FakeClock(), Away()
    ledger = LedgerOperations(meters).of(away)
    books = Books(ledger, clock)
    clock.advance_ms(400_000)  # a ledger that has never answered is no younger
    assert by_metric(list(books.samples())) == {(metrics.BOOKS_READ_AGE.name, ()): 400}
    await books.look()
    away.is_away = True
    clock.advance_ms(5_000)
    try:
        await books.look()
    except LedgerUnavailable:
        pass
    else:
        raise AssertionError("the failure was swallowed")
    assert by_metric(list(books.samples()))[metrics.BOOKS_READ_AGE.name, ()] == 5
    failed = meters.totals().sum(metrics.LEDGER_CALLS.name, operation="account_atoms", outcome="LEDGER_UNAVAILABLE")
    assert failed == 1


async def test_a_check_that_nobody_makes_grows_old_for_ever() -> None:
    """It is silent neither on the first day, without any result, nor on the third, when the last is out of sight."""
    clock, ledger = FakeClock(), MemoryLedger()

    async def ages() -> dict[str, float]:
        await books.look()
        samples = [sample for sample in books.samples() if sample.metric is metrics.RECONCILED_AGE]
        return {sample.labels[0]: sample.value for sample in samples}

    books = Books(ledger, clock)
    clock.advance_ms(60_000)
    assert await ages() == {"R2": 60, "R4": 60}
    await Reconciler(ledger, clock).run_quick()
    clock.advance_ms(10_000)
    assert await ages() == {"R2": 10, "R4": 10}
    clock.advance_ms(3 * DAY_MS)
    assert min((await ages()).values()) >= 3 * DAY_MS / 1_000
    assert set(await ages()) == {"R2", "R4"}
    books = Books(ledger, clock)  # a server that has just begun cannot say since when
    clock.advance_ms(5_000)
    assert await ages() == {"R2": 5, "R4": 5}


async def test_payouts_events_alerts_and_overdue_holds() -> None:
    clock, ledger = FakeClock(), MemoryLedger()
    now_ms = clock.now_ms()
    await ledger.post(rules.grant("g1", "alice", 100 * CREDIT, now_ms))
    await ledger.post(rules.hold(Hold("o1", "alice", "p1", CREDIT, now_ms, now_ms + 1_000, terms="{}"), "b", now_ms))
    event = {"event_id": "e1", "created_ms": now_ms - 60_000}
    await ledger.post(rules.noted(None, Record(records.EVENT, "1.e1", "NEW", event), now_ms))
    await ledger.post(rules.noted(None, Record(records.EVENT, "2.e2", "DEAD", event), now_ms))
    clock.advance_ms(31_000)
    books = Books(ledger, clock)
    await books.look()
    found = by_metric(list(books.samples()))
    assert found[metrics.HOLDS_OVERDUE.name, ()] == 1
    assert found[metrics.HOLD_OVERDUE_AGE.name, ()] == 30
    assert found[metrics.EVENTS_WAITING.name, ("dead",)] == 1
    assert found[metrics.WEBHOOK_LAG.name, ()] == 91
    assert found[metrics.PAYOUTS.name, ("initiated",)] == 0
    assert found[metrics.PLATFORM_BALANCE.name, ("X:promo",)] == -100


async def test_the_oldest_payout_counts_wherever_its_id_stands() -> None:
    """Payouts sort by id, which says nothing of their age."""
    clock, ledger = FakeClock(), MemoryLedger()
    await _payouts(ledger, 0, 256, clock.now_ms())
    await _payouts(ledger, 256, 300, clock.now_ms() - 11 * DAY_MS)
    books = Books(ledger, clock)
    await books.look()
    found = by_metric(list(books.samples()))
    assert found[metrics.PAYOUT_AGE.name, ()] == 11 * DAY_MS / 1_000
    assert (found[metrics.PAYOUTS.name, ("initiated",)], found[metrics.PAYOUTS_CREDITS.name, ("initiated",)]) == (
        300,
        600,
    )


async def test_as_many_payouts_are_looked_at_as_their_figure_says() -> None:
    clock, ledger = FakeClock(), MemoryLedger()
    await _payouts(ledger, 0, 4_100, clock.now_ms())
    books = Books(ledger, clock)
    await books.look()
    assert by_metric(list(books.samples()))[metrics.PAYOUTS.name, ("initiated",)] == 4_096
    assert all("4,096 a state" in metric.about for metric in (metrics.PAYOUTS, metrics.PAYOUT_AGE))


async def _payouts(ledger: MemoryLedger, first: int, end: int, at_ms: int) -> None:
    for number in range(first, end):
        fields: dict[str, str | int] = {"amount_atoms": 2 * CREDIT, "at_ms": at_ms}
        await ledger.post(rules.noted(None, Record(records.PAYOUT, f"po-{number:05}", "INITIATED", fields), at_ms))
