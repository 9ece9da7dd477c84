"""What the use cases give, as messages."""

from collections.abc import Mapping, Sequence

from gollem import units
from gollem.exchange import Answer, BidTally, Loss, Matched, Outlook, Receipt, SpendLimit, Terms, Trade
from gollem.ledger import StatementLine
from gollem.market import Ask, Catalogue, Depth, Offer
from gollem.providers import CircuitState, CircuitStatus, Seller
from gollem.rpc.pb import common_pb2, credit_pb2, market_pb2, provider_pb2

_CIRCUITS = {
    CircuitState.CLOSED: provider_pb2.Circuit.CLOSED,
    CircuitState.OPEN: provider_pb2.Circuit.OPEN,
    CircuitState.HALF_OPEN: provider_pb2.Circuit.HALF_OPEN,
}


def offer(value: Offer, catalogue: Catalogue) -> market_pb2.Offer:
    ask = value.ask
    multipliers = catalogue.resolve(ask.model).multiplier_micro, catalogue.gpu(ask.gpu_type)
    return market_pb2.Offer(
        provider_id=ask.provider_id,
        ask_id=ask.ask_id,
        model=ask.model,
        gpu_type=ask.gpu_type,
        endpoint=ask.endpoint,
        **_prices(ask.price_ticks, ask.completion_price_ticks, *multipliers),
        max_cost=units.format_fixed(value.cost_atoms),
        latency_ms=value.latency_us / 1_000,
        throughput_tps=units.tokens_per_second(value.tpot_ns),
        measured=value.measured,
    )


def agreed_offer(terms: Terms, held_atoms: int) -> market_pb2.Offer:
    """The winner as it was at the match."""
    return market_pb2.Offer(
        provider_id=terms.provider_id,
        ask_id=terms.ask_id,
        model=terms.model,
        gpu_type=terms.gpu_type,
        endpoint=terms.endpoint,
        **_prices(terms.price_ticks, terms.completion_price_ticks, terms.model_micro, terms.gpu_centi),
        max_cost=units.format_fixed(held_atoms),
        latency_ms=terms.latency_us / 1_000,
        throughput_tps=units.tokens_per_second(terms.tpot_ns),
        measured=terms.measured,
    )


def _prices(price_ticks: int, completion_price_ticks: int, model_micro: int, gpu_centi: int) -> dict[str, str]:
    """The four price fields of an offer."""
    return {
        "price": units.format_fixed(price_ticks),
        "completion_price": units.format_fixed(completion_price_ticks),
        "prompt_usd_per_mtok": units.usd_per_mtok(price_ticks, model_micro, gpu_centi),
        "completion_usd_per_mtok": units.usd_per_mtok(completion_price_ticks, model_micro, gpu_centi),
    }


def matched(value: Matched, grant: str, catalogue: Catalogue) -> market_pb2.MatchResponse:
    terms = value.terms
    return market_pb2.MatchResponse(
        order_id=value.order_id,
        offer=agreed_offer(terms, value.held_atoms),
        held=units.format_fixed(value.held_atoms),
        available=units.format_fixed(value.available_atoms),
        alternates=[offer(alternate, catalogue) for alternate in value.alternates],
        front_size=terms.front_size,
        grant=grant,
        grant_expires_at_ms=terms.grant_expires_at_ms,
        hold_expires_at_ms=value.hold_expires_at_ms,
        replayed=value.replayed,
        degraded=value.degraded,
    )


def usage(prompt_tokens: int, completion_tokens: int) -> common_pb2.Usage:
    return common_pb2.Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)


def receipt(value: Receipt) -> market_pb2.Receipt:
    return market_pb2.Receipt(
        order_id=value.order_id,
        held=units.format_fixed(value.held_atoms),
        charged=units.format_fixed(value.charged_atoms),
        refunded=units.format_fixed(value.refunded_atoms),
        provider_share=units.format_fixed(value.share_atoms),
        fee=units.format_fixed(value.fee_atoms),
        usage=usage(value.usage.prompt_tokens, value.usage.completion_tokens),
    )


def settled(value: Receipt) -> provider_pb2.SettleResponse:
    return provider_pb2.SettleResponse(
        order_id=value.order_id,
        held=units.format_fixed(value.held_atoms),
        charged=units.format_fixed(value.charged_atoms),
        refunded=units.format_fixed(value.refunded_atoms),
        provider_share=units.format_fixed(value.share_atoms),
        fee=units.format_fixed(value.fee_atoms),
        usage=usage(value.usage.prompt_tokens, value.usage.completion_tokens),
        replayed=value.replayed,
    )


def model_book(depth: Depth, resting_bids: int, catalogue: Catalogue) -> market_pb2.ModelBook:
    reference = catalogue.resolve(depth.model).reference
    best = depth.best_price_ticks
    return market_pb2.ModelBook(
        model=depth.model,
        live_asks=depth.live_asks,
        blocked_asks=depth.blocked_asks,
        resting_bids=resting_bids,
        free_tokens=depth.free_tokens,
        free_slots=depth.free_slots,
        best_price="" if best is None else units.format_fixed(best),
        reference_price=units.format_fixed(reference.price_ticks),
        reference_latency_ms=reference.latency_us / 1_000,
        reference_throughput_tps=units.tokens_per_second(reference.tpot_ns),
        front=[offer(each, catalogue) for each in depth.front],
        front_size=depth.front_size,
    )


def telemetry_answer(ask_id: str, sequence: int, answer: Answer) -> provider_pb2.TelemetryResponse:
    return provider_pb2.TelemetryResponse(
        ask_id=ask_id,
        sequence=sequence,
        blocked_by=answer.blocked_by,
        cancelled_orders=answer.cancelled_orders,
        matched=answer.matched,
        known=answer.known,
    )


def circuit(provider_id: str, status: CircuitStatus, threshold: int, window_ms: int) -> provider_pb2.Circuit:
    return provider_pb2.Circuit(
        provider_id=provider_id,
        state=_CIRCUITS[status.state],
        failures=status.failures,
        threshold=threshold,
        window_ms=window_ms,
        retry_after_ms=status.retry_after_ms,
    )


def rate_limit(seller: Seller, ask_id: str, now_ms: int) -> provider_pb2.AskRateLimit:
    if seller.window is None:
        return provider_pb2.AskRateLimit(ask_id=ask_id)
    status = seller.window.status(now_ms)
    return provider_pb2.AskRateLimit(
        ask_id=ask_id,
        limit_per_minute=status.limit,
        remaining=status.remaining,
        retry_after_ms=status.retry_after_ms,
    )


def latency(seller: Seller, ask_id: str, samples_needed: int) -> provider_pb2.AskLatency:
    latency_us, tpot_ns, _ = seller.figures
    message = provider_pb2.AskLatency(
        ask_id=ask_id,
        promised_latency_ms=seller.promise.latency_us / 1_000,
        promised_throughput_tps=units.tokens_per_second(seller.promise.tpot_ns),
        samples=len(seller.samples),
        samples_needed=samples_needed,
        effective_latency_ms=latency_us / 1_000,
        effective_throughput_tps=units.tokens_per_second(tpot_ns),
    )
    if measured := seller.samples.measured():
        message.latency_p50_ms = measured.latency_p50_us / 1_000
        message.latency_p95_ms = measured.latency_p95_us / 1_000
        message.latency_p99_ms = measured.latency_p99_us / 1_000
        if measured.tpot_p50_ns is not None:
            message.throughput_p50_tps = units.tokens_per_second(measured.tpot_p50_ns)
    return message


def statement_line(line: StatementLine) -> credit_pb2.StatementLine:
    return credit_pb2.StatementLine(
        key=line.key,
        kind=line.kind.value,
        amount=units.format_fixed(line.amount_atoms),
        order_id=line.order_id,
        at_ms=line.at_ms,
    )


def trade(value: Trade, catalogue: Catalogue) -> market_pb2.Trade:
    ask, bid = value.offer.ask, value.bid
    multipliers = catalogue.resolve(ask.model).multiplier_micro, catalogue.gpu(ask.gpu_type)
    return market_pb2.Trade(
        at_ms=value.at_ms,
        model=ask.model,
        provider_id=ask.provider_id,
        ask_id=ask.ask_id,
        gpu_type=ask.gpu_type,
        **_prices(ask.price_ticks, ask.completion_price_ticks, *multipliers),
        prompt_tokens=bid.prompt_tokens,
        max_tokens=bid.max_tokens,
        held=units.format_fixed(value.offer.cost_atoms),
        latency_ms=value.offer.latency_us / 1_000,
        throughput_tps=units.tokens_per_second(value.offer.tpot_ns),
    )


def refusals(tallies: Mapping[str, BidTally], since_ms: int) -> market_pb2.Refusals:
    return market_pb2.Refusals(
        models=[
            market_pb2.ModelRefusals(
                model=model, refused=tally.refused, matched=tally.matched, limited_by=tally.limited_by
            )
            for model, tally in tallies.items()
        ],
        since_ms=since_ms,
    )


def ask_state(
    ask: Ask, seller: Seller, blocked_by: Sequence[str], now_ms: int, catalogue: Catalogue
) -> provider_pb2.AskState:
    multipliers = catalogue.resolve(ask.model).multiplier_micro, catalogue.gpu(ask.gpu_type)
    message = provider_pb2.AskState(
        ask_id=ask.ask_id,
        model=ask.model,
        gpu_type=ask.gpu_type,
        endpoint=ask.endpoint,
        blocked_by=blocked_by,
        capacity_tokens=seller.promise.capacity_tokens,
        capacity_slots=seller.promise.capacity_slots,
        matched=seller.matched,
        heard_ago_ms=max(now_ms - seller.heard_at_ms, 0),
        gpus=[
            common_pb2.GpuStatus(
                name=name, utilisation_percent=percent, memory_used_bytes=used, memory_total_bytes=total
            )
            for name, percent, used, total in seller.gauge.gpus
        ],
    )
    for name, price in _prices(ask.price_ticks, ask.completion_price_ticks, *multipliers).items():
        setattr(message, name, price)
    if seller.gauge.running is not None:
        message.running = seller.gauge.running
    if seller.gauge.queued is not None:
        message.queued = seller.gauge.queued
    return message


def chances(value: Outlook, catalogue: Catalogue) -> provider_pb2.AskChances:
    message = provider_pb2.AskChances(
        ask_id=value.ask_id,
        model=value.model,
        bids=value.bids,
        since_ms=value.since_ms,
        won=value.won,
        outbid=value.outbid,
        excluded_by=value.excluded_by,
        blocked_by=value.blocked_by,
        won_by_price=value.price_wins,
        won_by_latency=value.latency_wins,
        won_by_throughput=value.tpot_wins,
        lost=[_lost(loss) for loss in value.lost],
    )
    _state_winning(message, value.winning_price_ticks, value.winning_latency_us, value.winning_tpot_ns)
    if value.winning_price_ticks is not None:
        multipliers = catalogue.resolve(value.model).multiplier_micro, catalogue.gpu(value.gpu_type)
        message.winning_usd_per_mtok = units.usd_per_mtok(value.winning_price_ticks, *multipliers)
    return message


def _lost(loss: Loss) -> provider_pb2.LostBid:
    seen, verdict = loss.seen, loss.verdict
    message = provider_pb2.LostBid(
        at_ms=seen.at_ms,
        prompt_tokens=seen.bid.prompt_tokens,
        max_tokens=seen.bid.max_tokens,
        excluded_by=verdict.excluded_by,
    )
    _state_winning(message, verdict.price_ticks, verdict.latency_us, verdict.tpot_ns)
    return message


def _state_winning(
    message: provider_pb2.AskChances | provider_pb2.LostBid,
    price_ticks: int | None,
    latency_us: int | None,
    tpot_ns: int | None,
) -> None:
    """What would win, where anything would."""
    if price_ticks is not None:
        message.winning_price = units.format_fixed(price_ticks)
    if latency_us is not None:
        message.winning_latency_ms = latency_us / 1_000
    if tpot_ns is not None:
        message.winning_throughput_tps = units.tokens_per_second(tpot_ns)


def spend_limit(value: SpendLimit) -> credit_pb2.SpendLimit:
    return credit_pb2.SpendLimit(
        per_day=units.format_fixed(value.day_limit_atoms) if value.day_limit_atoms else "",
        per_month=units.format_fixed(value.month_limit_atoms) if value.month_limit_atoms else "",
        used_today=units.format_fixed(value.day_atoms),
        used_this_month=units.format_fixed(value.month_atoms),
    )
