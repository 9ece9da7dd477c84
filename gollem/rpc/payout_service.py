"""PayoutService: what providers have earned, and how they get it."""

from collections.abc import Sequence
from typing import Any

from gollem import units
from gollem.errors import InvalidField, NotOnboarded, PaymentsOff, UnknownPayout
from gollem.ledger import StatementLine
from gollem.payments import Payments, PayoutView, Trail, as_csv, as_html
from gollem.rpc import context, fields, headers
from gollem.rpc.pb import payout_pb2
from gollem.rpc.pb.payout_grpc import PayoutServiceBase
from gollem.rpc.unary import answer

_DEFAULT_PAGE, _MAX_PAGE = 50, 100
_ORDERS_A_PAGE = 500
_FORMATS = {"csv": as_csv, "html": as_html}


class PayoutService(PayoutServiceBase):
    """Decodes, calls the payments room, encodes. Providers act for themselves; operators read whom they name."""

    def __init__(self, payments: Payments | None) -> None:
        self._with = payments

    async def StartOnboarding(self, stream: Any) -> None:
        await answer(stream, self._start)

    async def GetEarnings(self, stream: Any) -> None:
        await answer(stream, self._earnings)

    async def RequestPayout(self, stream: Any) -> None:
        await answer(stream, self._request, headers.payout)

    async def ListPayouts(self, stream: Any) -> None:
        await answer(stream, self._list)

    async def GetPayout(self, stream: Any) -> None:
        await answer(stream, self._trail)

    async def GetStatement(self, stream: Any) -> None:
        await answer(stream, self._statement)

    async def GetOnboarding(self, stream: Any) -> None:
        await answer(stream, self._onboarding)

    @property
    def _payments(self) -> Payments:
        if self._with is None:
            raise PaymentsOff("this exchange pays nobody out: its operator has not set payments.gateway")
        return self._with

    async def _start(self, request: payout_pb2.StartOnboardingRequest) -> payout_pb2.StartOnboardingResponse:
        provider = context.selling(request.provider_id)
        if len(request.country) != 2 or not (request.country.isascii() and request.country.isalpha()):
            raise InvalidField("country", "must be two letters, such as US (ISO 3166-1 alpha-2)")
        onboarding = self._payments.onboarding
        url = await onboarding.start(provider, request.country.upper(), request.return_url)
        try:
            await onboarding.require_payable(provider)
        except NotOnboarded:
            return payout_pb2.StartOnboardingResponse(url=url)
        return payout_pb2.StartOnboardingResponse(url=url, ready=True)

    async def _earnings(self, request: payout_pb2.GetEarningsRequest) -> payout_pb2.Earnings:
        provider = context.sellers_own(request.provider_id)
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
        provider = context.sellers_own(request.provider_id)
        size = fields.whole(request.page_size or _DEFAULT_PAGE, "page_size", 1, _MAX_PAGE)
        page = await self._payments.payouts.list(provider, fields.page_token(request.page_token), size)
        return payout_pb2.ListPayoutsResponse(payouts=map(_payout, page.items), next_page_token=page.next)

    async def _trail(self, request: payout_pb2.GetPayoutRequest) -> payout_pb2.PayoutTrail:
        payout_id = fields.account(request.payout_id, "payout_id")
        day = fields.day(request.day, "day") if request.day else ""
        token = fields.page_token(request.page_token)
        payouts, reader = self._payments.payouts, context.reader()
        trail = await payouts.trail(payout_id)
        provider = trail.payout.text("provider")
        if reader not in ("", provider):
            raise UnknownPayout(f"there is no payout {payout_id}", payout_id=payout_id)
        orders = await payouts.orders(provider, day, token, _ORDERS_A_PAGE) if day else []
        return _trail(trail, orders)

    async def _statement(self, request: payout_pb2.GetStatementRequest) -> payout_pb2.GetStatementResponse:
        provider = context.sellers_own(request.provider_id)
        if request.format not in _FORMATS:
            raise InvalidField("format", f"must be one of {', '.join(_FORMATS)}")
        month = fields.month(request.month, "month")
        statement = await self._payments.statements.read(provider, month)
        return payout_pb2.GetStatementResponse(content=_FORMATS[request.format](statement))

    async def _onboarding(self, request: payout_pb2.GetOnboardingRequest) -> payout_pb2.Onboarding:
        provider, payments = context.sellers_own(request.provider_id), self._payments
        view = await payments.onboarding.view(provider)
        return payout_pb2.Onboarding(
            provider_id=provider,
            ready=not view.blocked_by,
            blocked_by=view.blocked_by,
            country=view.country,
            least_usd=units.format_cents(payments.config.least_payout_cents),
            automatic_usd=units.format_cents(payments.config.payout_cents),
        )


def _payout(view: PayoutView) -> payout_pb2.Payout:
    return payout_pb2.Payout(
        payout_id=view.payout_id,
        provider_id=view.provider,
        amount_usd=units.format_cents(view.cents),
        state=view.state,
        created_at_ms=view.initiated_ms,
    )


def _trail(trail: Trail, orders: Sequence[StatementLine]) -> payout_pb2.PayoutTrail:
    return payout_pb2.PayoutTrail(
        payout=_payout(PayoutView.of(trail.payout)),
        steps=[
            payout_pb2.PayoutStep(key=step.key, kind=step.what, at_ms=step.at_ms, stripe_id=step.stripe_id)
            for step in trail.steps
        ],
        days=[
            payout_pb2.PayoutDay(
                day=day.day,
                earned=units.format_fixed(day.earned_atoms),
                payable=units.format_fixed(day.payable_atoms),
                orders=day.orders,
            )
            for day in trail.days
        ],
        other=units.format_fixed(trail.other_atoms),
        orders=[
            payout_pb2.PayoutOrder(
                order_id=order.order_id, earned=units.format_fixed(order.amount_atoms), at_ms=order.at_ms
            )
            for order in orders
        ],
        next_page_token=orders[-1].cursor if len(orders) == _ORDERS_A_PAGE else "",
    )
