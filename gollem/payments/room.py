"""The payments room as one thing to build, start and stop."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gollem.clock import Clock
from gollem.config import ConfigError, PaymentsConfig
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
from gollem.payments.webhook_bridge import WebhookBridge

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
    bridge: WebhookBridge
    gateway: PaymentGateway
    config: PaymentsConfig
    is_real: bool

    async def start(self) -> None:
        """Listen for webhooks. Raises ConfigError if that cannot be."""
        place = f"{self.config.webhook_host}:{self.config.webhook_port}"
        try:
            await self.bridge.start()
        except OSError as error:
            raise ConfigError(
                f"payments.webhook_port: cannot listen on {place} ({error.strerror or error}): name another with "
                "--set payments.webhook_port=N, and payments.webhook_host"
            ) from error
        _log.info("webhooks on http://%s:%d/webhooks/stripe", self.config.webhook_host, self.bridge.port)
        if not self.is_real:
            _log.info("the exchange plays the payment provider itself: no money moves")
        tell = getattr(self.gateway, "tell", None)  # the local gateway delivers its own webhooks
        if tell:
            tell(f"http://{_reachable(self.config.webhook_host)}:{self.bridge.port}")

    async def close(self) -> None:
        await self.bridge.stop()
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


def _reachable(host: str) -> str:
    """An address that a browser on this machine can open: who listens everywhere is also here."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - nothing listens here
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


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
    routes = gateway.routes() if hasattr(gateway, "routes") else ()
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
        bridge=WebhookBridge(inbox, config.webhook_host, config.webhook_port, routes),
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
