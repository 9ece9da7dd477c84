"""One class for everything that a consumer does at the exchange."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, Unpack

from gollem_client.attempts import Attempts
from gollem_client.bids import Limits, make_bid
from gollem_client.channels import ChannelPool
from gollem_client.errors import invalid
from gollem_client.exchange import Exchange
from gollem_client.generation import Generation
from gollem_client.prompts import Message, chat_messages, estimate_prompt_tokens, sampling
from gollem_client.relay import RelayedGeneration
from gollem_client.stubs import (
    BalanceRequest,
    BalanceResponse,
    CancelRequest,
    CancelResponse,
    GenerateRequest,
    GetOrderBookRequest,
    ListTransactionsRequest,
    ListTransactionsResponse,
    MarketGenerateRequest,
    MatchRequest,
    MatchResponse,
    OrderBook,
    QuoteRequest,
    QuoteResponse,
    Receipt,
    ReportRequest,
    ReportRequestOutcome,
    ReportResponse,
    StatementLine,
    WatchOrderBookRequest,
)
from gollem_client.timeouts import Timeouts

# Room for the suffix of later attempts within the 64 characters of an order id.
_MAX_ORDER_ID = 60
_OUTCOMES = ("completed", "failed_before_first_chunk", "failed_midstream")


class GollemClient:
    """A consumer's view of one exchange. Use it as `async with GollemClient(address, api_key=...) as client`.

    `address` is host:port, or https://host[:port] for TLS, or several of them with commas between: nodes over one book,
    of which the client turns to the next when one does not answer. Every method raises a GollemError when it fails.
    `**limits` everywhere are those of `bids.Limits`: max_tokens, max_price, max_cost, max_latency_ms,
    min_throughput_tps, gpu_types, only, exclude, policy, weights.
    """

    def __init__(self, address: str, *, api_key: str, timeouts: Timeouts | None = None, tries: int = 3) -> None:
        self._timeouts = timeouts or Timeouts()
        self._tries = tries
        self._pool = ChannelPool(self._timeouts.connect_ms)
        self._exchange = Exchange(address, api_key, self._pool, self._timeouts)
        self._background: set[asyncio.Task[None]] = set()

    @property
    def place(self) -> str:
        """The exchange that is called now, of several."""
        return self._exchange.place

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what is still to be told to the exchange, then close every connection."""
        if self._background:
            await asyncio.wait(self._background, timeout=self._timeouts.call_ms / 1_000)
        for task in self._background:
            task.cancel()
        self._pool.close()

    # --- buying -----------------------------------------------------------------------------------------------------

    def generate(
        self,
        model: str,
        messages: Iterable[Message],
        *,
        order_id: str | None = None,
        prompt_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Iterable[str] = (),
        **limits: Unpack[Limits],
    ) -> Generation:
        """Match, then stream straight from the provider; the next best one if it fails before its first chunk.

        Nothing is sent until the result is iterated. `prompt_tokens` overrides the estimate of the prompt's length.
        """
        made = chat_messages(messages)
        bid = make_bid(model, prompt_tokens or estimate_prompt_tokens(made), **limits)
        request = GenerateRequest(messages=made, sampling=sampling(temperature, top_p, seed, stop))
        attempts = Attempts(_order_id(order_id), bid, self._tries)
        return Generation(self._exchange, self._pool, self._timeouts, attempts, request, self._later)

    def generate_via_exchange(
        self,
        model: str,
        messages: Iterable[Message],
        *,
        order_id: str | None = None,
        prompt_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Iterable[str] = (),
        **limits: Unpack[Limits],
    ) -> RelayedGeneration:
        """As generate, but the exchange relays the stream: for clients that cannot reach providers."""
        made = chat_messages(messages)
        request = MarketGenerateRequest(
            order_id=_order_id(order_id),
            bid=make_bid(model, prompt_tokens or estimate_prompt_tokens(made), **limits),
            messages=made,
            sampling=sampling(temperature, top_p, seed, stop),
        )
        return RelayedGeneration(self._exchange, self._timeouts, request)

    async def match(
        self,
        model: str,
        prompt_tokens: int,
        *,
        order_id: str | None = None,
        good_for_ms: int = 0,
        alternates: int | None = None,
        **limits: Unpack[Limits],
    ) -> MatchResponse:
        """Buy without streaming: who won, what is held, and the grant to show to the provider."""
        request = MatchRequest(
            order_id=_order_id(order_id),
            bid=make_bid(model, prompt_tokens, **limits),
            good_for_ms=good_for_ms,
            alternates=alternates,
        )
        return await self._exchange.call("MarketService/Match", request, MatchResponse, extra_ms=good_for_ms)

    async def quote(self, model: str, prompt_tokens: int, **limits: Unpack[Limits]) -> QuoteResponse:
        """The whole Pareto front for a bid; nothing is held."""
        request = QuoteRequest(bid=make_bid(model, prompt_tokens, **limits))
        return await self._exchange.call("MarketService/Quote", request, QuoteResponse)

    async def cancel(self, order_id: str) -> CancelResponse:
        """Undo an order that has not started."""
        return await self._exchange.call("MarketService/Cancel", CancelRequest(order_id=order_id), CancelResponse)

    async def report(
        self,
        order_id: str,
        outcome: str = "completed",
        *,
        ttft_ms: float | None = None,
        completion_tokens: int | None = None,
        throughput_tps: float | None = None,
    ) -> Receipt | None:
        """Tell what came of an order that was matched by hand; the receipt, once it is settled.

        `outcome` is "completed", "failed_before_first_chunk" or "failed_midstream". May be repeated.
        """
        if outcome not in _OUTCOMES:
            raise invalid("outcome", f"must be one of {', '.join(_OUTCOMES)}")
        request = ReportRequest(
            order_id=order_id,
            outcome=ReportRequestOutcome.from_string(outcome.upper()),
            ttft_ms=ttft_ms,
            completion_tokens=completion_tokens,
            throughput_tps=throughput_tps,
        )
        return (await self._exchange.call("MarketService/Report", request, ReportResponse)).receipt

    # --- looking ----------------------------------------------------------------------------------------------------

    async def balance(self, account: str = "") -> BalanceResponse:
        """Credits to spend and credits held; of another account for operators only."""
        return await self._exchange.call("CreditService/Balance", BalanceRequest(account=account), BalanceResponse)

    async def transactions(self, account: str = "", page_size: int = 100) -> AsyncIterator[StatementLine]:
        """The statement, newest first, fetched page by page as it is read."""
        token = ""
        while True:
            request = ListTransactionsRequest(account=account, page_size=page_size, page_token=token)
            page = await self._exchange.call("CreditService/ListTransactions", request, ListTransactionsResponse)
            for line in page.transactions:
                yield line
            # A page that leads to itself would be read for ever.
            if not page.next_page_token or page.next_page_token == token:
                return
            token = page.next_page_token

    async def order_book(self, model: str = "") -> OrderBook:
        """Depth and best offers of one model, or of all."""
        return await self._exchange.call("MarketService/GetOrderBook", GetOrderBookRequest(model=model), OrderBook)

    def watch_order_book(self, model: str = "", interval_ms: int | None = None) -> AsyncIterator[OrderBook]:
        """The order book now and whenever it changes, at most once an interval."""
        request = WatchOrderBookRequest(model=model, interval_ms=interval_ms)
        return self._exchange.stream("MarketService/WatchOrderBook", request, OrderBook)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do `work` even if the caller goes away; the client waits for it when it is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _order_id(order_id: str | None) -> str:
    if order_id is None:
        return f"py-{uuid.uuid4().hex}"
    if not 1 <= len(order_id) <= _MAX_ORDER_ID:
        raise invalid("order_id", f"must have 1 to {_MAX_ORDER_ID} characters")
    return order_id
