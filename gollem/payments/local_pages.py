"""Where people pay, and complete their accounts, while the local gateway is in use: plain pages, one button each."""

from html import escape
from typing import Protocol

from aiohttp import web

from gollem.payments.types import ConnectedAccount, Payment, PaymentStatus

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<body style="font: 16px sans-serif; max-width: 30em; margin: 4em auto"><h1>{title}</h1>{body}</body></html>
"""
_BUTTON = """<form method="post" action="/local/pay"><input type="hidden" name="client_secret" value="{secret}">
<button>Pay</button></form>"""


class Counter(Protocol):
    """Whom people speak to."""

    def pay(self, client_secret: str) -> Payment | None:
        """None if there is no payment with this secret."""

    def to_pay(self, payment_id: str) -> tuple[Payment, str] | None:
        """A payment with its client secret."""

    def complete(self, connected_id: str) -> ConnectedAccount | None:
        """Its details are there, and it can be paid."""


def routes(counter: Counter) -> list[web.RouteDef]:
    async def pay(request: web.Request) -> web.StreamResponse:
        is_form = request.content_type == "application/x-www-form-urlencoded"
        payment = counter.pay(await _client_secret(request, is_form))
        if payment is None:
            raise web.HTTPNotFound
        if is_form:
            raise web.HTTPSeeOther(f"/local/pay/{payment.payment_id}")
        return web.json_response({"payment_id": payment.payment_id, "status": payment.status.value})

    async def pay_page(request: web.Request) -> web.Response:
        found = counter.to_pay(request.match_info["payment_id"])
        if found is None:
            raise web.HTTPNotFound
        payment, secret = found
        amount = f"{payment.asked_cents // 100}.{payment.asked_cents % 100:02} USD"
        body = f"<p>{amount} for purchase {escape(payment.purchase_id)}: {payment.status.value}. No money moves.</p>"
        is_open = payment.status is PaymentStatus.WAITING
        return _page("Local payment", body + (_BUTTON.format(secret=escape(secret)) if is_open else ""))

    async def onboarding(request: web.Request) -> web.Response:
        account = counter.complete(request.match_info["connected_id"])
        if account is None:
            raise web.HTTPNotFound
        back = escape(request.query.get("return_url", ""))
        link = f'<p><a href="{back}">Back</a></p>' if back.startswith(("http://", "https://")) else ""
        return _page("Local account", f"<p>{escape(account.provider)} can be paid now. No money moves.</p>{link}")

    return [
        web.post("/local/pay", pay),
        web.get("/local/pay/{payment_id}", pay_page),
        web.get("/local/onboarding/{connected_id}", onboarding),
    ]


async def _client_secret(request: web.Request, is_form: bool) -> str:
    try:
        told = await request.post() if is_form else await request.json()
        return str(told["client_secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise web.HTTPBadRequest(text="wanted is a client_secret, in JSON or a form\n") from error


def _page(title: str, body: str) -> web.Response:
    return web.Response(text=_PAGE.format(title=title, body=body), content_type="text/html")
