"""Stripe keeps the promise of `gateway.py`. The only file that imports the vendor.

The vendor's client makes no retry of its own: `attempts.py` and the sweeps know when a call may be repeated, under
which key, and when it has to be looked up first. A retry below them would hide what they decide by.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import aiohttp
import stripe

from gollem.clock import Clock
from gollem.config import ConfigError, PaymentsConfig
from gollem.errors import OutcomeUnknown
from gollem.payments import stripe_errors, stripe_objects, stripe_params
from gollem.payments.event_reader import EventReader, secrets
from gollem.payments.types import (
    Agreement,
    BankPayout,
    BankPayoutStatus,
    ConnectedAccount,
    Dispute,
    Event,
    Funds,
    Movement,
    NewPayment,
    Page,
    Payment,
    PaymentOrder,
    Refund,
    Transfer,
)

S = TypeVar("S", bound=stripe.StripeObject)
T = TypeVar("T")
PAGES_MAX = 100  # looked through for one object
_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_SKEW_MS = 300_000  # our clock against Stripe's
_BANK_PAYOUTS_MS = 90 * 86_400_000
_LIVE = {"sk_live_": True, "rk_live_": True, "sk_test_": False, "rk_test_": False}

# Its own log tells whole answers, with client secrets; and who runs what on which machine is nobody's business.
logging.getLogger("stripe").setLevel(logging.WARNING)
stripe.enable_telemetry = False


class StripeGateway:
    """The platform's account at Stripe. `close` when done."""

    def __init__(self, config: PaymentsConfig, clock: Clock) -> None:
        """Raises ConfigError for what is missing or cannot be right."""
        self._livemode = _livemode(config)
        self._clock = clock
        platform = secrets("payments.webhook_secrets", config.webhook_secrets)
        connect = secrets("payments.connect_secrets", config.connect_secrets)
        self._events = EventReader(platform, connect, self._livemode, clock, _is_signed)
        timeout: Any = aiohttp.ClientTimeout(total=_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S)
        self._http = stripe.AIOHTTPClient(timeout=timeout)
        self._stripe = stripe.StripeClient(
            config.stripe_key,
            http_client=self._http,
            max_network_retries=0,
            base_addresses={"api": config.stripe_url.rstrip("/")} if config.stripe_url else {},
        ).v1

    @property
    def livemode(self) -> bool:
        return self._livemode

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    # --- money in

    async def create_customer(self, user: str, key: str) -> str:
        made = await _answer(self._stripe.customers.create_async({"metadata": {"user": user}}, _options(key)))
        return made.id

    async def create_payment(self, order: PaymentOrder, key: str) -> NewPayment:
        made = await _answer(self._stripe.payment_intents.create_async(stripe_params.payment(order), _options(key)))
        return NewPayment(stripe_objects.payment(made.to_dict()), made.client_secret or "")

    async def find_payment(self, purchase_id: str, since_ms: int, until_ms: int | None = None) -> Payment | None:
        until_ms = until_ms + _SKEW_MS if until_ms is not None else None
        payments = partial(self._payments_between, since_ms - _SKEW_MS, until_ms)
        return await _look_through(payments, lambda payment: payment.purchase_id == purchase_id)

    async def payment(self, payment_id: str) -> Payment | None:
        asked = self._stripe.payment_intents.retrieve_async(payment_id, {"expand": ["latest_charge"]})
        return await _fetched(asked, stripe_objects.payment)

    async def cancel_payment(self, payment_id: str, key: str) -> Payment:
        asked = self._stripe.payment_intents.cancel_async(
            payment_id, {"cancellation_reason": "abandoned", "expand": ["latest_charge"]}, _options(key)
        )
        return stripe_objects.payment((await _answer(asked)).to_dict())

    async def payments_since(self, since_ms: int, page: str = "") -> Page[Payment]:
        return await self._payments_between(since_ms, None, page)

    async def _payments_between(self, since_ms: int, until_ms: int | None, page: str) -> Page[Payment]:
        params = stripe_params.since(since_ms, page, "data.latest_charge", until_ms=until_ms)
        return await _listed(self._stripe.payment_intents.list_async(params), stripe_objects.payment)

    async def create_refund(self, payment_id: str, refund_id: str, cents: int, key: str) -> Refund:
        asked = self._stripe.refunds.create_async(
            {"payment_intent": payment_id, "amount": cents, "metadata": {"refund_id": refund_id}}, _options(key)
        )
        return stripe_objects.refund((await _answer(asked)).to_dict())

    async def find_refund(self, payment_id: str, refund_id: str) -> Refund | None:
        async def refunds(page: str) -> Page[Refund]:
            asked = self._stripe.refunds.list_async(stripe_params.refunds(payment_id, page))
            return await _listed(asked, stripe_objects.refund)

        return await _look_through(refunds, lambda refund: refund.refund_id == refund_id)

    async def refund(self, stripe_id: str) -> Refund | None:
        return await _fetched(self._stripe.refunds.retrieve_async(stripe_id), stripe_objects.refund)

    async def dispute(self, dispute_id: str) -> Dispute | None:
        return await _fetched(self._stripe.disputes.retrieve_async(dispute_id), stripe_objects.dispute)

    # --- providers and money out

    async def create_account(self, provider: str, country: str, agreement: Agreement, key: str) -> ConnectedAccount:
        params = stripe_params.account(provider, country, agreement)
        return stripe_objects.account(
            (await _answer(self._stripe.accounts.create_async(params, _options(key)))).to_dict()
        )

    async def find_account(self, provider: str, since_ms: int) -> ConnectedAccount | None:
        async def accounts(page: str) -> Page[ConnectedAccount]:
            asked = self._stripe.accounts.list_async(stripe_params.since(since_ms - _SKEW_MS, page))
            return await _listed(asked, stripe_objects.account)

        return await _look_through(accounts, lambda account: account.provider == provider)

    async def account(self, connected_id: str) -> ConnectedAccount | None:
        return await _fetched(self._stripe.accounts.retrieve_async(connected_id), stripe_objects.account)

    async def onboarding_url(self, connected_id: str, return_url: str) -> str:
        """A second link leads to the same end, so that no key of ours is needed."""
        params = stripe_params.onboarding(connected_id, return_url)
        return (await _answer(self._stripe.account_links.create_async(params))).url

    async def create_transfer(self, payout_id: str, connected_id: str, cents: int, key: str) -> Transfer:
        params = stripe_params.transfer(payout_id, connected_id, cents)
        made = await _answer(self._stripe.transfers.create_async(params, _options(key)))
        return stripe_objects.transfer(made.to_dict())

    async def find_transfer(self, payout_id: str) -> Transfer | None:
        asked = self._stripe.transfers.list_async({"transfer_group": payout_id, "limit": 1})
        return next(iter((await _listed(asked, stripe_objects.transfer)).items), None)

    async def transfer(self, transfer_id: str) -> Transfer | None:
        return await _fetched(self._stripe.transfers.retrieve_async(transfer_id), stripe_objects.transfer)

    async def reverse_transfer(self, transfer_id: str, key: str) -> Transfer:
        asked = self._stripe.transfers.reversals.create_async(transfer_id, {"expand": ["transfer"]}, _options(key))
        return stripe_objects.transfer((await _answer(asked)).to_dict()["transfer"])

    async def create_bank_payout(
        self, connected_id: str, payout_id: str, attempt: int, cents: int, key: str
    ) -> BankPayout:
        params = stripe_params.bank_payout(payout_id, attempt, cents)
        made = await _answer(self._stripe.payouts.create_async(params, _options(key, connected_id)))
        return stripe_objects.bank_payout(made.to_dict())

    async def find_bank_payout(self, connected_id: str, payout_id: str, attempt: int) -> BankPayout | None:
        def is_it(found: BankPayout) -> bool:
            return (found.payout_id, found.attempt) == (payout_id, attempt)

        return await _look_through(self._recent_bank_payouts(connected_id), is_it)

    async def bank_payout(self, connected_id: str, bank_payout_id: str) -> BankPayout | None:
        asked = self._stripe.payouts.retrieve_async(bank_payout_id, options=_options(account=connected_id))
        return await _fetched(asked, stripe_objects.bank_payout)

    async def bank_payouts_under_way(self, connected_id: str) -> list[BankPayout]:
        under_way: list[BankPayout] = []

        def note(found: BankPayout) -> bool:
            if found.status is BankPayoutStatus.UNDER_WAY:
                under_way.append(found)
            return False

        await _look_through(self._recent_bank_payouts(connected_id), note)
        return under_way

    async def bank_payouts_since(self, connected_id: str, since_ms: int, page: str = "") -> Page[BankPayout]:
        asked = self._stripe.payouts.list_async(stripe_params.since(since_ms, page), _options(account=connected_id))
        return await _listed(asked, stripe_objects.bank_payout)

    def _recent_bank_payouts(self, connected_id: str) -> Callable[[str], Awaitable[Page[BankPayout]]]:
        return partial(self.bank_payouts_since, connected_id, self._clock.now_ms() - _BANK_PAYOUTS_MS)

    # --- its books, and what it tells

    async def funds(self, connected_id: str = "") -> Funds:
        balance = await _answer(self._stripe.balance.retrieve_async(options=_options(account=connected_id)))
        return stripe_objects.funds(balance.to_dict())

    async def movements_since(self, since_ms: int, page: str = "") -> Page[Movement]:
        asked = self._stripe.balance_transactions.list_async(stripe_params.since(since_ms, page, "data.source"))
        listed = (await _answer(asked)).to_dict()
        known = stripe_objects.page(listed, stripe_objects.movement)
        return Page(
            [await self._with_payout(*one) for one in zip(known.items, listed["data"], strict=True)], known.next
        )

    async def _with_payout(self, movement: Movement, txn: dict[str, Any]) -> Movement:
        """A reversal names its transfer, and only that its payout."""
        transfer_id = stripe_objects.reversed_transfer_id(txn)
        transfer = await self.transfer(transfer_id) if transfer_id else None
        return replace(movement, payout_id=transfer.payout_id) if transfer else movement

    async def events_since(self, since_ms: int, page: str = "") -> Page[Event]:
        asked = self._stripe.events.list_async(stripe_params.since(since_ms, page))
        return await _listed(asked, stripe_objects.event)

    def read_event(self, raw: bytes, signature: str) -> Event:
        return self._events.read(raw, signature)


def _livemode(config: PaymentsConfig) -> bool:
    """By the key's prefix. What cannot be right is refused without being repeated."""
    key = config.stripe_key
    if key[:8] not in _LIVE or not key[8:]:
        raise ConfigError("payments.stripe_key: must be a secret or restricted key: sk_live_..., sk_test_..., rk_...")
    if _LIVE[key[:8]] and config.stripe_url and not config.stripe_url.startswith("https://"):
        raise ConfigError("payments.stripe_url: a live key is sent over https only")
    if os.environ.get("STRIPE_LOG"):
        raise ConfigError("STRIPE_LOG: must not be set, it writes the secrets of payments to the log")
    return _LIVE[key[:8]]


def _is_signed(raw: bytes, header: str, secret: str) -> bool:
    """When it was signed is looked at elsewhere, by our own clock."""
    try:
        stripe.WebhookSignature.verify_header(raw, header, secret, tolerance=None)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _options(key: str = "", account: str = "") -> stripe.RequestOptions:
    options: stripe.RequestOptions = {}
    if key:
        options["idempotency_key"] = key
    if account:
        options["stripe_account"] = account
    return options


async def _answer(call: Awaitable[T]) -> T:
    """Raises what `gateway.py` says. The vendor's error is not kept as the cause: it holds the whole answer."""
    try:
        return await call
    except stripe.APIConnectionError as error:
        raise stripe_errors.of_connection(error.__cause__) from None
    except stripe.StripeError as error:
        raise stripe_errors.of_answer(error.http_status or 0, error.json_body, error.request_id) from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:  # while the answer was read
        raise stripe_errors.of_connection(error) from None


async def _fetched(call: Awaitable[S], translated: Callable[[stripe_objects.Json], T]) -> T | None:
    """None if there is no such object."""

    async def unless_absent() -> S | None:
        try:
            return await call
        except stripe.StripeError as error:
            if stripe_errors.is_absent(error.http_status, error.json_body):
                return None
            raise

    found = await _answer(unless_absent())
    return translated(found.to_dict()) if found is not None else None


async def _listed(call: Awaitable[S], translated: Callable[[stripe_objects.Json], T]) -> Page[T]:
    return stripe_objects.page((await _answer(call)).to_dict(), translated)


async def _look_through(ask: Callable[[str], Awaitable[Page[T]]], is_it: Callable[[T], bool]) -> T | None:
    """The newest that is it. To have seen too little is no answer: raises OutcomeUnknown."""
    page = ""
    for _ in range(PAGES_MAX):
        seen = await ask(page)
        found = next(filter(is_it, seen.items), None)
        if found is not None or not seen.next:
            return found
        page = seen.next
    raise OutcomeUnknown("too much has happened at the payment provider since: it was not looked through")
