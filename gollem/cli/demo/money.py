"""The money's own two acts: credits are bought by card, and what a provider earned is paid out to its bank.

The exchange plays the payment provider itself here, webhooks included: see `--payments local`.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console

from gollem.cli import output
from gollem.cli.connection import Server, ask
from gollem.cli.failure import Failure
from gollem.cli.purchases import pay_at
from gollem.units import ATOMS_PER_CENT
from gollem_client import stubs

T = TypeVar("T")
_POLL_S = 0.05
_TIMEOUT_S = 20.0
_COUNTRY = "US"


async def buy(consumer: Server, amount_usd: str) -> stubs.Purchase:
    """Buy credits: the card is charged, a signed webhook tells the exchange, which fetches the payment and credits."""
    purchase_id = f"demo-{uuid.uuid4().hex}"
    request = stubs.CreatePaymentIntentRequest(purchase_id=purchase_id, amount_usd=amount_usd)
    made = await ask(consumer, "CreditService/CreatePaymentIntent", request, stubs.CreatePaymentIntentResponse)
    await pay_at(made.pay_url, made.client_secret)

    async def bought() -> stubs.Purchase | None:
        found = await ask(consumer, "CreditService/GetPurchase", stubs.GetPurchaseRequest(purchase_id), stubs.Purchase)
        return found if found.state == "credited" else None

    return await _until("the purchase", bought)


async def pay_out(provider: Server) -> stubs.Payout | None:
    """Onboard the provider, and have all that it earned paid out, until it is at the bank. None if that is not a cent:
    a short answer may be worth less."""
    await _onboard(provider)

    async def payable() -> stubs.Earnings | None:
        earned = await ask(provider, "PayoutService/GetEarnings", stubs.GetEarningsRequest(), stubs.Earnings)
        return earned if output.atoms(earned.payable) else None

    earned = await _until("the earnings", payable)
    if output.atoms(earned.payable) < ATOMS_PER_CENT:
        return None
    wanted = stubs.RequestPayoutRequest(payout_id=f"demo-{uuid.uuid4().hex}")
    asked = await ask(provider, "PayoutService/RequestPayout", wanted, stubs.Payout)

    async def paid() -> stubs.Payout | None:
        listed = await ask(provider, "PayoutService/ListPayouts", stubs.ListPayoutsRequest(), stubs.ListPayoutsResponse)
        return next((one for one in listed.payouts if one.payout_id == asked.payout_id and one.state == "paid"), None)

    return await _until("the payout", paid)


def show(screen: Console, purchase: stubs.Purchase, payout: stubs.Payout | None) -> None:
    """How the dollars came in and went out."""
    screen.print(f"${purchase.amount_usd} paid by card, and told by a signed webhook: {purchase.credits} credits")
    if payout:
        screen.print(f"${payout.amount_usd} paid out to the bank of {payout.provider_id}: {payout.payout_id}")
    else:
        screen.print("less than a cent was earned: it is paid out once it is one")


async def _onboard(provider: Server) -> None:
    """Open the page where a provider tells who it is; this gateway asks nothing."""
    request = stubs.StartOnboardingRequest(country=_COUNTRY)
    started = await ask(provider, "PayoutService/StartOnboarding", request, stubs.StartOnboardingResponse)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(started.url) as page:
        if page.status >= 400:
            raise Failure(f"{urlsplit(started.url).path}: {page.status}")

    async def ready() -> bool | None:
        again = await ask(provider, "PayoutService/StartOnboarding", request, stubs.StartOnboardingResponse)
        return again.ready or None

    await _until("the provider's account", ready)


async def _until(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while (found := await look()) is None:  # noqa: ASYNC110 - what is waited for is in another process
                await asyncio.sleep(_POLL_S)
            return found
    except TimeoutError:
        raise Failure(f"{what} did not come within {_TIMEOUT_S:.0f} s") from None
