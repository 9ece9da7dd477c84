"""PayoutService: what providers have earned, and how they get it."""

from typing import Any

from gollem import units
from gollem.errors import InvalidField, PaymentsOff
from gollem.payments import Payments, PayoutView, TrailView
from gollem.rpc import context, fields
from gollem.rpc.pb import payout_pb2
from gollem.rpc.pb.payout_grpc import PayoutServiceBase
from gollem.rpc.unary import answer

_DEFAULT_PAGE, _MAX_PAGE = 50, 500
_MAX_URL_CHARS = 2_048
_FORMATS = ("csv", "html")


class PayoutService(PayoutServiceBase):
    """Decodes, calls the payments room, encodes. Providers act for themselves; operators read all."""

    def __init__(self, payments: Payments | None) -> None:
        self._with = payments

    async def StartOnboarding(self, stream: Any) -> None:
        await answer(stream, self._start)

    async def GetEarnings(self, stream: Any) -> None:
        await answer(stream, self._earnings)

    async def RequestPayout(self, stream: Any) -> None:
        await answer(stream, self._request)

    async def ListPayouts(self, stream: Any) -> None:
        await answer(stream, self._list)

    async def GetPayout(self, stream: Any) -> None:
        await answer(stream, self._trail)

    async def GetStatement(self, stream: Any) -> None:
        await answer(stream, self._statement)

    @property
    def _payments(self) -> Payments:
        if self._with is None:
            raise PaymentsOff("this exchange pays nobody out: its operator has not set payments.gateway")
        return self._with

    async def _start(self, request: payout_pb2.StartOnboardingRequest) -> payout_pb2.StartOnboardingResponse:
        provider = context.selling(request.provider_id)
        if len(request.country) != 2 or not (request.country.isascii() and request.country.isalpha()):
            raise InvalidField("country", "must be two letters, such as US (ISO 3166-1 alpha-2)")
        started = await self._payments.onboarding.start(provider, request.country.upper(), _url(request.return_url))
        return payout_pb2.StartOnboardingResponse(url=started.url, ready=started.ready)

    async def _earnings(self, request: payout_pb2.GetEarningsRequest) -> payout_pb2.Earnings:
        provider = context.readable(request.provider_id, "provider_id")
        view = await self._payments.payouts.earnings(provider)
        amounts = {
            "maturing": view.maturing_atoms,
            "payable": view.payable_atoms,
            "in_flight": view.in_flight_atoms,
            "paid": view.paid_atoms,
        }
        return payout_pb2.Earnings(
            provider_id=provider,
            debt=units.format_fixed(view.debt_atoms),
            **{name: units.format_fixed(atoms) for name, atoms in amounts.items()},
            **{f"{name}_usd": units.format_usd(atoms) for name, atoms in amounts.items()},
        )

    async def _request(self, request: payout_pb2.RequestPayoutRequest) -> payout_pb2.Payout:
        provider = context.selling(request.provider_id)
        payout_id = fields.account(request.payout_id, "payout_id")
        return _payout(await self._payments.payouts.request(provider, payout_id))

    async def _list(self, request: payout_pb2.ListPayoutsRequest) -> payout_pb2.ListPayoutsResponse:
        provider = context.readable(request.provider_id, "provider_id")
        size = fields.whole(request.page_size or _DEFAULT_PAGE, "page_size", 1, _MAX_PAGE)
        page = await self._payments.payouts.list(provider, fields.page_token(request.page_token), size)
        return payout_pb2.ListPayoutsResponse(payouts=map(_payout, page.payouts), next_page_token=page.next)

    async def _trail(self, request: payout_pb2.GetPayoutRequest) -> payout_pb2.PayoutTrail:
        payout_id = fields.account(request.payout_id, "payout_id")
        day = fields.day(request.day, "day") if request.day else ""
        token = fields.page_token(request.page_token)
        return _trail(await self._payments.payouts.trail(context.reader(), payout_id, day, token))

    async def _statement(self, request: payout_pb2.GetStatementRequest) -> payout_pb2.GetStatementResponse:
        provider = context.readable(request.provider_id, "provider_id")
        if request.format not in _FORMATS:
            raise InvalidField("format", f"must be one of {', '.join(_FORMATS)}")
        month = fields.month(request.month, "month")
        statement = await self._payments.payouts.statement(provider, month)
        return payout_pb2.GetStatementResponse(
            content=statement.as_csv() if request.format == "csv" else statement.as_html()
        )


def _payout(view: PayoutView) -> payout_pb2.Payout:
    return payout_pb2.Payout(
        payout_id=view.payout_id,
        provider_id=view.provider,
        amount_usd=units.format_cents(view.cents),
        state=view.state,
        created_at_ms=view.created_ms,
    )


def _trail(view: TrailView) -> payout_pb2.PayoutTrail:
    return payout_pb2.PayoutTrail(
        payout=_payout(view.payout),
        steps=[
            payout_pb2.PayoutStep(
                key=step.key, kind=step.kind, at_ms=step.at_ms, amount_usd=units.format_usd(step.atoms)
            )
            for step in view.steps
        ],
        days=[
            payout_pb2.PayoutDay(day=day.day, earned=units.format_fixed(day.atoms), orders=day.orders)
            for day in view.days
        ],
        orders=[
            payout_pb2.PayoutOrder(
                order_id=order.order_id, earned=units.format_fixed(order.amount_atoms), at_ms=order.at_ms
            )
            for order in view.orders
        ],
        next_page_token=view.next,
    )


def _url(text: str) -> str:
    if text and not (text.isascii() and text.startswith(("https://", "http://localhost", "http://127.0.0.1"))):
        raise InvalidField("return_url", "must begin with https://")
    if len(text) > _MAX_URL_CHARS:
        raise InvalidField("return_url", f"must have at most {_MAX_URL_CHARS} characters")
    return text
