"""`gollem credits buy` and what belongs to it: receipts, top-ups, alerts."""

import asyncio
from urllib.parse import urljoin

import aiohttp
import click

from gollem.cli import output
from gollem.cli.connection import Server, ask, call, new_id, run, server_options
from gollem.cli.failure import Failure
from gollem_client import stubs

_GET = "CreditService/GetPurchase"
_PAY = "/local/pay"  # where programs pay; `pay_url` is for people
_POLL_S = 0.25
_PAY_TIMEOUT_S = 30
_REPEAT_WAIT_S = 10  # for a purchase that was begun before: nobody may be about to pay it


@click.command()
@click.argument("amount_usd")
@click.option("--purchase-id", help="made by you; the same again buys nothing twice  [default: a new one]")
@click.option("--keep-card", is_flag=True, help="keep the card, for top-ups")
@click.option("--pay", is_flag=True, help="pay at once; only where the exchange plays the payment provider itself")
@click.option("--wait", "wait_s", type=click.IntRange(0, 3_600), default=600, show_default=True, help="seconds")
@output.json_option
@server_options
def buy(
    server: Server, amount_usd: str, purchase_id: str | None, keep_card: bool, pay: bool, wait_s: int, as_json: bool
) -> None:
    """Buy credits for AMOUNT_USD, from 1.00 to 1000.00, by card. Waits until they are there.

    Where the exchange plays the payment provider itself (--payments local), it names a page to pay at. With Stripe, the
    client secret is for a payment form of yours: it is shown once.
    """
    request = stubs.CreatePaymentIntentRequest(
        purchase_id=purchase_id or new_id(), amount_usd=amount_usd, keep_card=keep_card
    )
    made = call(server, "CreditService/CreatePaymentIntent", request, stubs.CreatePaymentIntentResponse)
    _tell(made)
    if pay and made.client_secret:
        run(pay_at(made.pay_url, made.client_secret))
    elif not made.client_secret:
        wait_s = min(wait_s, _REPEAT_WAIT_S)
    bought = _await_credits(server, made.purchase_id, wait_s)
    if as_json:
        output.print_json(bought)
        return
    if bought.state == "credited":
        click.echo(f"{output.money(bought.credits)} bought for ${bought.amount_usd}")
        click.echo(f"receipt: {bought.receipt_url}" if bought.receipt_url else f"purchase {bought.purchase_id}")
        return
    advice = f"`gollem credits receipt {bought.purchase_id}` tells what becomes of it."
    if not made.client_secret:
        advice = f"{advice} If nobody can pay it any more, buy again with another --purchase-id."
    raise Failure(f"purchase {bought.purchase_id} is {bought.state}", advice)


@click.command()
@click.argument("purchase_id")
@output.json_option
@server_options
def receipt(server: Server, purchase_id: str, as_json: bool) -> None:
    """Show what became of a purchase, and its receipt."""
    bought = call(server, _GET, stubs.GetPurchaseRequest(purchase_id=purchase_id), stubs.Purchase)
    if as_json:
        output.print_json(bought)
        return
    for name, value in (
        ("state", bought.state),
        ("amount", f"${bought.amount_usd}"),
        ("credits", bought.credits),
        ("refunded", f"${bought.refunded_usd}"),
        ("receipt", bought.receipt_url),
    ):
        click.echo(f"{name:9} {value or '-'}")


@click.command("top-up")
@click.option("--below", "threshold", metavar="CREDITS", help="buy whenever fewer credits than this are left")
@click.option("--amount", "amount_usd", metavar="USD", default="", help="of each purchase")
@click.option("--monthly-cap", "cap_usd", metavar="USD", default="", help="most that is bought so in a month")
@click.option("--off", is_flag=True, help="never again")
@output.json_option
@server_options
def top_up(server: Server, threshold: str | None, amount_usd: str, cap_usd: str, off: bool, as_json: bool) -> None:
    """Show, set or switch off purchases that happen by themselves, with a card that `buy --keep-card` kept."""
    if ((amount_usd or cap_usd) and not threshold) or (threshold and not (off or (amount_usd and cap_usd))):
        raise click.UsageError("--below, --amount and --monthly-cap go together")
    if off or threshold:
        request = stubs.SetTopUpRequest(
            enabled=not off, threshold=threshold or "", amount_usd=amount_usd, monthly_cap_usd=cap_usd
        )
        answer = call(server, "CreditService/SetTopUp", request, stubs.TopUp)
    else:
        answer = call(server, "CreditService/GetTopUp", stubs.GetTopUpRequest(), stubs.TopUp)
    if as_json:
        output.print_json(answer)
    elif answer.enabled:
        click.echo(f"buys ${answer.amount_usd} whenever fewer than {output.money(answer.threshold)} are left")
        click.echo(f"${answer.used_usd} of this month's ${answer.monthly_cap_usd} are used")
    else:
        click.echo("off")


@click.command()
@click.argument("threshold")
@server_options
def alert(server: Server, threshold: str) -> None:
    """Raise one alert each time fewer than THRESHOLD credits are left."""
    request = stubs.SetBalanceAlertRequest(threshold=threshold)
    call(server, "CreditService/SetBalanceAlert", request, stubs.SetBalanceAlertResponse)
    click.echo(f"an alert is raised each time fewer than {output.money(threshold)} are left")


async def pay_at(pay_url: str, client_secret: str) -> None:
    """Pay where the exchange plays the payment provider. Raises Failure."""
    if not pay_url:
        raise Failure("this exchange has no page to pay at", "Pay with your own form, then run this without --pay.")
    try:
        timeout = aiohttp.ClientTimeout(total=_PAY_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(urljoin(pay_url, _PAY), json={"client_secret": client_secret}) as answer,
        ):
            if answer.status >= 400:
                raise Failure(f"{pay_url}: {answer.status} {(await answer.text())[:200]}")
    except aiohttp.ClientError as error:
        raise Failure(f"{pay_url}: {error}", "Is the exchange still running?") from error


def _tell(made: stubs.CreatePaymentIntentResponse) -> None:
    """What to do next, on stderr. The secret is shown, as it has to reach the payer's form."""
    if made.pay_url:
        click.echo(f"pay at {made.pay_url}", err=True)
    elif made.client_secret:
        click.echo(f"purchase {made.purchase_id}; client secret for your payment form: {made.client_secret}", err=True)
    else:
        click.echo(f"purchase {made.purchase_id} was begun before; its client secret is told once only", err=True)


def _await_credits(server: Server, purchase_id: str, wait_s: int) -> stubs.Purchase:
    """The purchase, once it is decided, or as it is after so long."""

    async def poll() -> stubs.Purchase:
        request, looks = stubs.GetPurchaseRequest(purchase_id=purchase_id), 1 + int(wait_s / _POLL_S)
        for _ in range(looks):
            found = await ask(server, _GET, request, stubs.Purchase)
            if found.state in ("credited", "cancelled"):
                break
            await asyncio.sleep(_POLL_S)
        return found

    with output.stderr().status("waiting for the payment"):
        return run(poll())
