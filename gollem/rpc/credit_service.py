"""CreditService: balances and statements."""

from typing import Any

from gollem import units
from gollem.errors import InvalidField, PaymentsOff
from gollem.exchange import Accounts, SpendReport
from gollem.identity import Role
from gollem.ledger import Kind, StatementFilter
from gollem.payments import Payments
from gollem.rpc import context, encode, fields, headers
from gollem.rpc.pb import credit_pb2
from gollem.rpc.pb.credit_grpc import CreditServiceBase
from gollem.rpc.purchases import PurchaseCalls
from gollem.rpc.unary import answer

_DEFAULT_PAGE = 50
_MAX_PAGE = 500
_MAX_MS = 2**62
_DEFAULT_DAYS, _MAX_DAYS = 7, 31


class CreditService(CreditServiceBase):
    """Decodes, calls the use case, encodes. Everybody sees the own account; operators see all."""

    def __init__(self, accounts: Accounts, report: SpendReport, payments: Payments | None) -> None:
        self._accounts = accounts
        self._report = report
        self._with = PurchaseCalls(payments) if payments else None

    async def Balance(self, stream: Any) -> None:
        await answer(stream, self._balance)

    async def ListTransactions(self, stream: Any) -> None:
        await answer(stream, self._transactions)

    async def CreatePaymentIntent(self, stream: Any) -> None:
        await answer(stream, self._purchases.create, headers.purchase)

    async def GetPurchase(self, stream: Any) -> None:
        await answer(stream, self._purchases.find)

    async def SetTopUp(self, stream: Any) -> None:
        await answer(stream, self._purchases.set_top_up)

    async def GetTopUp(self, stream: Any) -> None:
        await answer(stream, self._purchases.find_top_up)

    async def SetBalanceAlert(self, stream: Any) -> None:
        await answer(stream, self._alert_below)

    async def GetSpending(self, stream: Any) -> None:
        await answer(stream, self._spent)

    async def GetSpendLimit(self, stream: Any) -> None:
        await answer(stream, self._spend_limit)

    async def SetSpendLimit(self, stream: Any) -> None:
        await answer(stream, self._limit_spending)

    @property
    def _purchases(self) -> PurchaseCalls:
        if self._with is None:
            raise PaymentsOff("this exchange takes no payments: an operator grants credits")
        return self._with

    async def _balance(self, request: credit_pb2.BalanceRequest) -> credit_pb2.BalanceResponse:
        account = context.readable(request.account)
        standing = await self._accounts.standing(account)
        return credit_pb2.BalanceResponse(
            account=account,
            available=units.format_fixed(standing.balance.available_atoms),
            held=units.format_fixed(standing.balance.held_atoms),
            available_usd=units.format_usd(standing.balance.available_atoms),
            earned=units.format_fixed(standing.earned_atoms),
            active=standing.balance.active,
            debt=units.format_fixed(standing.debt_atoms),
        )

    async def _transactions(self, request: credit_pb2.ListTransactionsRequest) -> credit_pb2.ListTransactionsResponse:
        account = context.readable(request.account)
        selling = request.earnings if request.HasField("earnings") else context.caller().role is Role.PROVIDER
        size = fields.whole(request.page_size or _DEFAULT_PAGE, "page_size", 1, _MAX_PAGE)
        # One more than asked for tells whether there is another page.
        lines = await self._accounts.statement(
            account, selling, fields.page_token(request.page_token), size + 1, _only(request)
        )
        page = lines[:size]
        return credit_pb2.ListTransactionsResponse(
            transactions=[encode.statement_line(line) for line in page],
            next_page_token=page[-1].cursor if len(lines) > size else "",
        )

    async def _alert_below(self, request: credit_pb2.SetBalanceAlertRequest) -> credit_pb2.SetBalanceAlertResponse:
        user = context.consumer()
        await self._accounts.alert_below(user, fields.positive_atoms(request.threshold, "threshold"))
        return credit_pb2.SetBalanceAlertResponse()

    async def _spent(self, request: credit_pb2.GetSpendingRequest) -> credit_pb2.Spending:
        account = context.readable(request.account)
        days = fields.whole(request.days or _DEFAULT_DAYS, "days", 1, _MAX_DAYS)
        spends, truncated = await self._report.read(account, days)
        return credit_pb2.Spending(
            rows=[
                credit_pb2.SpendingRow(
                    day=spend.day,
                    model=spend.model,
                    orders=spend.orders,
                    charged=units.format_fixed(spend.charged_atoms),
                    charged_usd=units.format_usd(spend.charged_atoms),
                )
                for spend in spends
            ],
            truncated=truncated,
        )

    async def _spend_limit(self, request: credit_pb2.GetSpendLimitRequest) -> credit_pb2.SpendLimit:
        return encode.spend_limit(await self._accounts.spend_limit(context.consumer()))

    async def _limit_spending(self, request: credit_pb2.SetSpendLimitRequest) -> credit_pb2.SpendLimit:
        """What is absent stays: a field that is misspelt over HTTP must not lift a limit."""
        user = context.consumer()
        per_day = per_month = None
        if request.HasField("per_day"):
            per_day = fields.positive_atoms(request.per_day, "per_day") if request.per_day else 0
        if request.HasField("per_month"):
            per_month = fields.positive_atoms(request.per_month, "per_month") if request.per_month else 0
        return encode.spend_limit(await self._accounts.limit_spending(user, per_day, per_month))


def _only(request: credit_pb2.ListTransactionsRequest) -> StatementFilter:
    fields.count(len(request.kinds), "kinds", len(Kind))
    unknown = set(request.kinds) - set(Kind)
    if unknown:
        raise InvalidField("kinds", f"{min(unknown)[:40]!r} is none of {', '.join(Kind)}")
    from_ms = fields.whole(request.from_ms, "from_ms", 0, _MAX_MS)
    to_ms = fields.whole(request.to_ms, "to_ms", 0, _MAX_MS)
    return StatementFilter(frozenset(map(Kind, request.kinds)), from_ms, to_ms or None)
