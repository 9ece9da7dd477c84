"""An exchange on a real socket that keeps its orders in a dictionary and fails when told to. No rule of the market."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from grpclib import GRPCError, Status
from grpclib.server import Server

from gollem.rpc.pb import credit_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.credit_grpc import CreditServiceBase
from gollem.rpc.pb.market_grpc import MarketServiceBase
from gollem.rpc.pb.provider_grpc import ProviderServiceBase
from tests.fakes.faults import fault
from tests.fakes.grants import Signer

# What may be put before the next answer of a method.
LOST = "the call is carried out and its answer is lost"
HANG = "no answer ever comes"


class FakeExchange:
    """Holds everything a test may want to look at; `changed` wakes whoever waits for a condition."""

    def __init__(self) -> None:
        self.signer = Signer()
        # Other nodes', whose grants are good too; an old exchange tells of none.
        self.other_signers: list[Signer] = []
        self.asks: dict[str, provider_pb2.RegisterRequest] = {}
        self.orders: dict[str, market_pb2.MatchRequest] = {}
        self.matched: dict[str, market_pb2.MatchResponse] = {}
        self.settled: dict[str, provider_pb2.SettleRequest] = {}
        self.cancelled: list[str] = []
        self.reports: list[market_pb2.ReportRequest] = []
        self.telemetry: list[provider_pb2.TelemetryRequest] = []
        self.events: list[tuple[str, str]] = []
        self.registrations = 0
        self.deregistrations = 0
        # While set, settlements are answered UNAVAILABLE.
        self.unsettling = False
        # While set, reports of agents are not answered.
        self.silent = False
        # Told to agents with every answer.
        self.cancelled_orders: list[str] = []
        self.calls: dict[str, int] = defaultdict(int)
        self.keys: set[str] = set()
        # What stands before the next answers of a method: a GRPCError, LOST or HANG.
        self.next: dict[str, deque[object]] = defaultdict(deque)
        self.relay: list[market_pb2.MarketGenerateResponse | str] = []
        self.books: list[market_pb2.OrderBook] = []
        self.transactions: list[credit_pb2.StatementLine] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._server: Server | None = None
        self._connections: set[Any] = set()
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def grant_public_keys(self) -> list[bytes]:
        return [each.public_key for each in (self.signer, *self.other_signers)] if self.other_signers else []

    async def start(self) -> None:
        """Listen; after a stop, on the same port again."""
        self._server = Server([_Market(self), _Provider(self), _Credit(self)])
        await self._server.start("127.0.0.1", self.port)
        assert self._server._server is not None
        self.port = self._server._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Drop every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.close()  # grpclib's own close leaves connections open
            self._connections.clear()
            await self._server.wait_closed()
            self._server = None

    def add_ask(self, provider_id: str, endpoint: str, price: str = "0.001", model: str = "m") -> None:
        self.asks[f"{provider_id}/{model}"] = provider_pb2.RegisterRequest(
            provider_id=provider_id, ask_id=f"{model}:cpu", model=model, price=price, endpoint=endpoint
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on this exchange; tests bound it with a time-out of their own."""
        while not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, future))
            await future

    def met(self, stream: Any) -> None:
        """Remember the connection of a call."""
        self._connections.add(stream._stream.connection)

    def changed(self) -> None:
        for _, future in self._waiters:
            if not future.done():
                future.set_result(None)
        self._waiters.clear()

    async def answer(self, stream: Any, method: str, act: Callable[[Any], Any]) -> None:
        """One unary call: what stands before it first, then `act`."""
        self.met(stream)
        request = await stream.recv_message()
        self.calls[method] += 1
        self.keys.add(stream.metadata.get("authorization", ""))
        before = self.next[method].popleft() if self.next[method] else None
        if isinstance(before, GRPCError):
            raise before
        if before == HANG:
            self.changed()
            await asyncio.Event().wait()
        answer = act(request)
        self.changed()
        if before == LOST:
            await stream.cancel()
            return
        await stream.send_message(answer)


class _Market(MarketServiceBase):
    def __init__(self, state: FakeExchange) -> None:
        self._state = state

    async def Match(self, stream: Any) -> None:
        await self._state.answer(stream, "Match", self._match)

    def _match(self, request: market_pb2.MatchRequest) -> market_pb2.MatchResponse:
        state, bid = self._state, request.bid
        if request.order_id in state.matched:
            if state.orders[request.order_id] != request:
                raise fault(Status.ALREADY_EXISTS, "DUPLICATE_ORDER_MISMATCH", order_id=request.order_id)
            replay = market_pb2.MatchResponse()
            replay.CopyFrom(state.matched[request.order_id])
            replay.replayed = True
            return replay
        asks = [
            ask
            for ask in state.asks.values()
            if ask.model == bid.model
            and ask.provider_id not in bid.exclude_providers
            and (not bid.only_providers or ask.provider_id in bid.only_providers)
        ]
        if not asks:
            figures = {"excluded_by.provider": str(len(state.asks)), "retryable": "true"}
            raise fault(Status.FAILED_PRECONDITION, "NO_FEASIBLE_ASK", **figures)
        ask = min(asks, key=lambda each: each.price)
        answer = market_pb2.MatchResponse(order_id=request.order_id, held="1.00000000", available="9.00000000")
        answer.offer.provider_id, answer.offer.ask_id = ask.provider_id, ask.ask_id
        answer.offer.endpoint, answer.offer.model, answer.offer.price = ask.endpoint, ask.model, ask.price
        answer.front_size = len(asks)
        answer.grant = state.signer.grant(
            order_id=request.order_id,
            provider_id=ask.provider_id,
            ask_id=ask.ask_id,
            model=ask.model,
            max_prompt_tokens=bid.prompt_tokens,
            max_completion_tokens=bid.max_tokens,
        )
        state.orders[request.order_id] = request
        state.matched[request.order_id] = answer
        return answer

    async def Quote(self, stream: Any) -> None:
        quote = market_pb2.QuoteResponse(front_size=len(self._state.asks), feasible=len(self._state.asks))
        await self._state.answer(stream, "Quote", lambda request: quote)

    async def Cancel(self, stream: Any) -> None:
        def cancel(request: market_pb2.CancelRequest) -> market_pb2.CancelResponse:
            self._state.cancelled.append(request.order_id)
            return market_pb2.CancelResponse(state=market_pb2.CancelResponse.CANCELLED)

        await self._state.answer(stream, "Cancel", cancel)

    async def Report(self, stream: Any) -> None:
        def report(request: market_pb2.ReportRequest) -> market_pb2.ReportResponse:
            self._state.reports.append(request)
            settled = self._state.settled.get(request.order_id)
            if settled is None:
                return market_pb2.ReportResponse()
            receipt = market_pb2.Receipt(order_id=request.order_id, charged="0.5", usage=settled.usage)
            return market_pb2.ReportResponse(receipt=receipt)

        await self._state.answer(stream, "Report", report)

    async def GetOrderBook(self, stream: Any) -> None:
        await self._state.answer(stream, "GetOrderBook", lambda request: self._state.books[0])

    async def WatchOrderBook(self, stream: Any) -> None:
        await stream.recv_message()
        for book in self._state.books:
            await stream.send_message(book)

    async def Generate(self, stream: Any) -> None:
        self._state.met(stream)
        await stream.recv_message()
        for event in self._state.relay:
            if event == HANG:
                await asyncio.Event().wait()
            await stream.send_message(event)

    async def MatchStream(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def ListTrades(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetRefusals(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)


class _Provider(ProviderServiceBase):
    def __init__(self, state: FakeExchange) -> None:
        self._state = state

    async def Register(self, stream: Any) -> None:
        def register(request: provider_pb2.RegisterRequest) -> provider_pb2.RegisterResponse:
            self._state.asks[f"{request.provider_id}/{request.model}"] = request
            self._state.registrations += 1
            request.ask_id = request.ask_id or f"{request.model}:{request.gpu_type}"
            return provider_pb2.RegisterResponse(
                ask_id=request.ask_id,
                model=request.model,
                grant_public_key=self._state.signer.public_key,
                grant_public_keys=self._state.grant_public_keys,
                telemetry_interval_ms=20,
                withdraw_after_ms=4_000,
                fee_bps=500,
                context_tokens=2_048,
            )

        await self._state.answer(stream, "Register", register)

    async def Deregister(self, stream: Any) -> None:
        def deregister(request: provider_pb2.DeregisterRequest) -> provider_pb2.DeregisterResponse:
            mine = [name for name, ask in self._state.asks.items() if ask.provider_id == request.provider_id]
            for name in mine:
                del self._state.asks[name]
            self._state.deregistrations += 1
            return provider_pb2.DeregisterResponse(removed=len(mine))

        await self._state.answer(stream, "Deregister", deregister)

    async def Telemetry(self, stream: Any) -> None:
        self._state.met(stream)
        async for report in stream:
            self._state.telemetry.append(report)
            names = {value: name for name, value in provider_pb2.OrderEvent.Kind.items()}
            self._state.events += [(event.order_id, names[event.kind]) for event in report.events]
            known = any(ask.provider_id == report.provider_id for ask in self._state.asks.values())
            self._state.changed()
            if self._state.silent:
                continue
            await stream.send_message(
                provider_pb2.TelemetryResponse(
                    ask_id=report.ask_id,
                    sequence=report.sequence,
                    known=known,
                    cancelled_orders=self._state.cancelled_orders,
                )
            )

    async def Settle(self, stream: Any) -> None:
        def settle(request: provider_pb2.SettleRequest) -> provider_pb2.SettleResponse:
            if self._state.unsettling:
                raise fault(Status.UNAVAILABLE, "LEDGER_UNAVAILABLE")
            replayed = request.order_id in self._state.settled
            first = self._state.settled.setdefault(request.order_id, request)
            return provider_pb2.SettleResponse(order_id=request.order_id, usage=first.usage, replayed=replayed)

        await self._state.answer(stream, "Settle", settle)

    async def PostStatus(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetCircuit(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetRateLimit(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetLatency(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def ListAsks(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def WhyUnmatched(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)


class _Credit(CreditServiceBase):
    def __init__(self, state: FakeExchange) -> None:
        self._state = state

    async def Balance(self, stream: Any) -> None:
        balance = credit_pb2.BalanceResponse(account="alice", available="9.00000000", active=True)
        await self._state.answer(stream, "Balance", lambda request: balance)

    async def ListTransactions(self, stream: Any) -> None:
        def page(request: credit_pb2.ListTransactionsRequest) -> credit_pb2.ListTransactionsResponse:
            start = int(request.page_token or 0)
            end = start + request.page_size
            more = str(end) if end < len(self._state.transactions) else ""
            lines = self._state.transactions[start:end]
            return credit_pb2.ListTransactionsResponse(transactions=lines, next_page_token=more)

        await self._state.answer(stream, "ListTransactions", page)

    async def CreatePaymentIntent(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetPurchase(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def SetTopUp(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetTopUp(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def SetBalanceAlert(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetSpending(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def GetSpendLimit(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)

    async def SetSpendLimit(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED)
