"""CreditService: balances and statements."""

from typing import Any

from gollem import units
from gollem.errors import Forbidden, InvalidField, NotImplementedYet
from gollem.exchange import Accounts
from gollem.identity import Role
from gollem.ledger import Kind, StatementFilter
from gollem.rpc import context, encode, fields
from gollem.rpc.pb import credit_pb2
from gollem.rpc.pb.credit_grpc import CreditServiceBase
from gollem.rpc.unary import answer

_DEFAULT_PAGE = 50
_MAX_PAGE = 500
_MAX_CURSOR_CHARS = 256
_MAX_MS = 2**62


class CreditService(CreditServiceBase):
    """Decodes, calls the use case, encodes. Everybody sees the own account; operators see all."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def Balance(self, stream: Any) -> None:
        await answer(stream, self._balance)

    async def ListTransactions(self, stream: Any) -> None:
        await answer(stream, self._transactions)

    async def CreatePaymentIntent(self, stream: Any) -> None:
        raise NotImplementedYet("this release has no card payments: an operator grants credits")

    async def _balance(self, request: credit_pb2.BalanceRequest) -> credit_pb2.BalanceResponse:
        account = _readable(request.account)
        standing = await self._accounts.standing(account)
        return credit_pb2.BalanceResponse(
            account=account,
            available=units.format_fixed(standing.balance.available_atoms),
            held=units.format_fixed(standing.balance.held_atoms),
            available_usd=units.format_usd(standing.balance.available_atoms),
            earned=units.format_fixed(standing.earned_atoms),
            active=standing.balance.active,
        )

    async def _transactions(self, request: credit_pb2.ListTransactionsRequest) -> credit_pb2.ListTransactionsResponse:
        account = _readable(request.account)
        selling = request.earnings if request.HasField("earnings") else context.caller().role is Role.PROVIDER
        size = fields.whole(request.page_size or _DEFAULT_PAGE, "page_size", 1, _MAX_PAGE)
        # One more than asked for tells whether there is another page.
        lines = await self._accounts.statement(account, selling, _cursor(request.page_token), size + 1, _only(request))
        page = lines[:size]
        return credit_pb2.ListTransactionsResponse(
            transactions=[encode.statement_line(line) for line in page],
            next_page_token=page[-1].cursor if len(lines) > size else "",
        )


def _readable(named: str) -> str:
    """The account to read: the caller's own, or for an operator any. Raises Forbidden."""
    principal = context.caller()
    account = fields.account(named, "account") if named else principal.account
    if account != principal.account and principal.role is not Role.OPERATOR:
        raise Forbidden("this key reads its own account only", account=account)
    return account


def _cursor(token: str) -> str:
    if not (token.isascii() and len(token) <= _MAX_CURSOR_CHARS):
        raise InvalidField("page_token", "must be the next_page_token of the page before")
    return token


def _only(request: credit_pb2.ListTransactionsRequest) -> StatementFilter:
    fields.count(len(request.kinds), "kinds", len(Kind))
    unknown = set(request.kinds) - set(Kind)
    if unknown:
        raise InvalidField("kinds", f"{min(unknown)[:40]!r} is none of {', '.join(Kind)}")
    from_ms = fields.whole(request.from_ms, "from_ms", 0, _MAX_MS)
    to_ms = fields.whole(request.to_ms, "to_ms", 0, _MAX_MS)
    return StatementFilter(frozenset(map(Kind, request.kinds)), from_ms, to_ms or None)
