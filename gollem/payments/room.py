"""The payments room as one thing to build, start and stop."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gollem.clock import Clock
from gollem.config import PaymentsConfig
from gollem.ledger import Desk, Ledger
from gollem.payments.attempts import Attempts
from gollem.payments.binding import bind
from gollem.payments.books import Books
from gollem.payments.disputes import Disputes
from gollem.payments.gateway import PaymentGateway
from gollem.payments.handlers import money_in, money_out
from gollem.payments.inbox import Inbox
from gollem.payments.onboarding import Onboarding
from gollem.payments.payouts import Payouts
from gollem.payments.purchases import Purchases
from gollem.payments.refunds import Refunds
from gollem.payments.statement import Statements
from gollem.payments.top_ups import TopUps
from gollem.payments.webhooks import PATH, Webhooks

_log = logging.getLogger(__name__)
Work = Callable[[], Awaitable[object]]
FIRST_POLL_MS = 10_000
FIRST_COMPARISON_MS = 3 * 60_000


@dataclass(frozen=True, slots=True)
class Chore:
    """What is done every so often; the first time after `first_ms`, if that is sooner."""

    every_ms: int
    work: Work
    first_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Payments:
    """`is_real`: the money is moved by a payment provider outside, so that who sells must be one it can pay."""

    purchases: Purchases
    top_ups: TopUps
    refunds: Refunds
    disputes: Disputes
    onboarding: Onboarding
    payouts: Payouts
    statements: Statements
    books: Books
    inbox: Inbox
    webhooks: Webhooks
    gateway: PaymentGateway
    config: PaymentsConfig
    is_real: bool

    def routes(self) -> list[web.RouteDef]:
        """What the bridge serves for us: webhooks, and the pages of a gateway for development."""
        pages = self.gateway.routes() if hasattr(self.gateway, "routes") else []
        return [*self.webhooks.routes(), *pages]

    def serve_at(self, url: str) -> None:
        """The bridge is up, there. The local gateway delivers its own webhooks."""
        _log.info("webhooks on %s%s", url, PATH)
        if not self.is_real:
            _log.info("the exchange plays the payment provider itself: no money moves")
        tell = getattr(self.gateway, "tell", None)
        if tell:
            tell(url)

    async def close(self) -> None:
        await self.gateway.close()

    def chores(self) -> list[Chore]:
        """What is to be done again and again. Any number of servers may do it at once. The first polls and comparisons
        come soon, so that what is wrong from the start, such as a key, is soon known."""
        config = self.config
        return [
            Chore(config.inbox_interval_ms, self.inbox.work),
            Chore(config.inbox_interval_ms, self.top_ups.look),
            Chore(config.payout_interval_ms, self.payouts.look),
            *(Chore(config.poll_interval_ms, work, FIRST_POLL_MS) for work in self._polls()),
            *(Chore(config.books_interval_ms, work, FIRST_COMPARISON_MS) for work in self._comparisons()),
        ]

    def _polls(self) -> tuple[Work, ...]:
        """What heals by itself whatever was missed (R7)."""
        rooms = (self.purchases, self.top_ups, self.refunds, self.disputes, self.onboarding)
        return (self.inbox.poll, *(room.sweep for room in rooms))

    def _comparisons(self) -> tuple[Work, ...]:
        """R5, R6, R8."""
        return (self.books.match_movements, self.books.prove_balance, self.books.prove_connected)


async def open_payments(
    config: PaymentsConfig, ledger: Ledger, desk: Desk, clock: Clock, folder: Path
) -> Payments | None:
    """None if this exchange takes and pays no money. Raises ConfigError."""
    if config.gateway == "none":
        return None
    gateway = await _open_gateway(config, clock, folder)
    try:
        await bind(ledger, clock, config.gateway, gateway)
    except BaseException:
        await gateway.close()
        raise
    attempts = Attempts(ledger, clock)
    purchases = Purchases(ledger, desk, gateway, attempts, clock, config)
    refunds = Refunds(ledger, desk, gateway, attempts, clock)
    disputes = Disputes(ledger, desk, gateway, purchases, clock)
    onboarding = Onboarding(ledger, gateway, attempts, clock, config)
    payouts = Payouts(ledger, desk, gateway, attempts, clock, config)
    handlers = money_in(purchases, refunds, disputes) | money_out(onboarding, payouts)
    inbox = Inbox(ledger, gateway, handlers, clock)
    return Payments(
        purchases=purchases,
        top_ups=TopUps(ledger, gateway, attempts, purchases, clock),
        refunds=refunds,
        disputes=disputes,
        onboarding=onboarding,
        payouts=payouts,
        statements=Statements(ledger, clock),
        books=Books(ledger, gateway, purchases, refunds, disputes, payouts, clock),
        inbox=inbox,
        webhooks=Webhooks(inbox),
        gateway=gateway,
        config=config,
        is_real=config.gateway == "stripe",
    )


async def _open_gateway(config: PaymentsConfig, clock: Clock, folder: Path) -> PaymentGateway:
    """Imported only where it is used: a newcomer needs no vendor."""
    if config.gateway == "stripe":
        from gollem.payments.stripe_gateway import StripeGateway

        return StripeGateway(config, clock)
    from gollem.payments.local_gateway import LocalGateway

    return LocalGateway(folder / "local-payments.db", clock)
