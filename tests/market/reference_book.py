"""A book that is obviously right: a list of asks, each rule spelled out, every answer by comparing all."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from gollem.market import Catalogue, Report
from gollem.market.pricing import scales
from gollem.market.types import MAX_LISTED, MAX_QUOTED, Ask, Bid, Block, Depth, Match, Offer, Policy, Quote, Rejection

Terms = tuple[int, int, int]


@dataclass
class Row:
    ask: Ask
    age: int
    latency_us: int
    tpot_ns: int
    capacity_tokens: int
    capacity_slots: int
    measured: bool = False
    claimed_tokens: int = 0
    claimed_slots: int = 0
    blocks: set[Block] = field(default_factory=set)

    @property
    def free_tokens(self) -> int:
        return self.capacity_tokens - self.claimed_tokens

    @property
    def free_slots(self) -> int:
        return self.capacity_slots - self.claimed_slots


class ReferenceBook:
    """The OrderBook protocol in O(n^2)."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.rows: dict[str, Row] = {}
        self.ages = count()

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, ask: Ask) -> None:
        old = self.rows.get(ask.key)
        stays = old is not None and (old.ask.model, old.ask.gpu_type) == (ask.model, ask.gpu_type)
        age = old.age if old and stays else next(self.ages)
        row = Row(ask, age, ask.latency_us, ask.tpot_ns, ask.capacity_tokens, ask.capacity_slots)
        if old:
            row.claimed_tokens, row.claimed_slots, row.blocks = old.claimed_tokens, old.claimed_slots, old.blocks
        self.rows[ask.key] = row

    def remove(self, key: str) -> bool:
        return self.rows.pop(key, None) is not None

    def ask(self, key: str) -> Ask | None:
        return self.rows[key].ask if key in self.rows else None

    def offer(self, key: str, bid: Bid) -> Offer | None:
        row = self.rows.get(key)
        return self.as_offer(row, bid) if row and row.ask.model == bid.model else None

    def update(self, reports: list[Report]) -> int:
        known = [report for report in reports if report.key in self.rows]
        for report in known:
            row = self.rows[report.key]
            row.latency_us, row.tpot_ns, row.measured = report.latency_us, report.tpot_ns, report.measured
            row.capacity_tokens, row.capacity_slots = report.capacity_tokens, report.capacity_slots
        return len(known)

    def block(self, key: str, reason: Block) -> None:
        if key in self.rows:
            self.rows[key].blocks.add(reason)

    def unblock(self, key: str, reason: Block) -> None:
        if key in self.rows:
            self.rows[key].blocks.discard(reason)

    def blocks(self, key: str) -> frozenset[Block]:
        return frozenset(self.rows[key].blocks) if key in self.rows else frozenset()

    def claim(self, key: str, tokens: int) -> bool:
        if key in self.rows:
            self.rows[key].claimed_tokens += tokens
            self.rows[key].claimed_slots += 1
        return key in self.rows

    def release(self, key: str, tokens: int) -> bool:
        if key in self.rows:
            row = self.rows[key]
            row.claimed_tokens = max(0, row.claimed_tokens - tokens)
            row.claimed_slots = max(0, row.claimed_slots - 1)
        return key in self.rows

    def match(self, bid: Bid, alternates: int = 3) -> Match | Rejection:
        feasible = self.feasible(bid)
        if not feasible:
            return self.rejection(bid)
        winner = min(feasible, key=lambda row: self.preference(row, bid))
        front = sorted(self.front(feasible, bid) if alternates else [], key=lambda row: self.preference(row, bid))
        others = [self.as_offer(row, bid) for row in front if row is not winner][:alternates]
        match = Match(self.as_offer(winner, bid), tokens(bid), tuple(others), len(front))
        self.claim(winner.ask.key, tokens(bid))
        return match

    def quote(self, bid: Bid) -> Quote:
        feasible = self.feasible(bid)
        front = sorted(self.front(feasible, bid), key=lambda row: (self.terms(row, bid), row.age))
        winner = min(feasible, key=lambda row: self.preference(row, bid), default=None)
        return Quote(
            front=tuple(self.as_offer(row, bid) for row in front[:MAX_QUOTED]),
            front_size=len(front),
            feasible=len(feasible),
            winner=self.as_offer(winner, bid) if winner else None,
            rejection=self.rejection(bid),
        )

    def depth(self, model: str) -> Depth:
        rows = self.of_model(model)
        live = [row for row in rows if not row.blocks and row.free_tokens > 0 and row.free_slots > 0]
        probe = Bid(model, 500, 500)
        payable = [row for row in live if "reserve" not in self.failures(row, probe)]
        front = sorted(self.front(payable, probe), key=lambda row: (self.terms(row, probe), row.age))
        sums = [row.ask.price_ticks + row.ask.completion_price_ticks for row in live]
        return Depth(
            model=model,
            live_asks=len(live),
            blocked_asks=len(rows) - len(live),
            free_tokens=sum(row.free_tokens for row in live),
            free_slots=sum(row.free_slots for row in live),
            best_price_ticks=(min(sums) + 1) // 2 if live else None,
            front=tuple(self.as_offer(row, probe) for row in front[:MAX_LISTED]),
            front_size=len(front),
        )

    # --- the rules --------------------------------------------------------------------------------------------------

    def of_model(self, model: str) -> list[Row]:
        return [row for row in self.rows.values() if row.ask.model == model]

    def units(self, row: Row, bid: Bid) -> int:
        ticks = row.ask.price_ticks * bid.prompt_tokens + row.ask.completion_price_ticks * bid.max_tokens
        return ticks * self.catalogue.gpu(row.ask.gpu_type)

    def atoms(self, row: Row, bid: Bid) -> int:
        whole, rest = divmod(self.units(row, bid) * self.catalogue.resolve(bid.model).multiplier_micro, 400_000)
        return whole + (rest > 0)

    def terms(self, row: Row, bid: Bid) -> Terms:
        return self.units(row, bid), row.latency_us, row.tpot_ns

    def failures(self, row: Row, bid: Bid) -> set[str]:
        """Everything that keeps the ask from the bid."""
        ask, n = row.ask, tokens(bid)
        ticks = ask.price_ticks * bid.prompt_tokens + ask.completion_price_ticks * bid.max_tokens
        micro = self.catalogue.resolve(ask.model).multiplier_micro
        a_token, rest = divmod(ask.credit_rate_atoms * 400_000, micro)
        atoms = self.atoms(row, bid)
        failed = {
            "price": bid.max_price_ticks is not None and ticks > bid.max_price_ticks * n,
            "cost": atoms >= 2**62 or (bid.max_cost_atoms is not None and atoms > bid.max_cost_atoms),
            "latency": bid.max_latency_us is not None and row.latency_us > bid.max_latency_us,
            "throughput": bid.max_tpot_ns is not None and row.tpot_ns > bid.max_tpot_ns,
            "gpu_type": bool(bid.gpu_types) and ask.gpu_type not in bid.gpu_types,
            "provider": (bool(bid.only_providers) and ask.provider_id not in bid.only_providers)
            or ask.provider_id in bid.exclude_providers,
            "capacity": row.free_tokens < n or row.free_slots < 1,
            "reserve": self.units(row, bid) < (a_token + (rest > 0)) * n,
        }
        return {name for name, fails in failed.items() if fails} | {block.value for block in row.blocks}

    def feasible(self, bid: Bid) -> list[Row]:
        return [row for row in self.of_model(bid.model) if not self.failures(row, bid)]

    def front(self, rows: list[Row], bid: Bid) -> list[Row]:
        terms = [self.terms(row, bid) for row in rows]
        distinct = set(terms)
        on_front = {own for own in distinct if not any(dominates(other, own) for other in distinct)}
        return [row for row, own in zip(rows, terms, strict=True) if own in on_front]

    def preference(self, row: Row, bid: Bid) -> tuple[int, ...]:
        """The least is the winner."""
        cost, latency, tpot = self.terms(row, bid)
        if bid.policy is Policy.PRICE:
            return cost, latency, tpot, row.age
        if bid.policy is Policy.LATENCY:
            return latency, cost, tpot, row.age
        if bid.policy is Policy.THROUGHPUT:
            return tpot, cost, latency, row.age
        score = 0
        for (cap, factor, shift), figure in zip(
            scales(bid, self.catalogue.resolve(bid.model)), (cost, latency, tpot), strict=True
        ):
            score += min(figure // 2**shift, cap) * factor
        return score, cost, latency, tpot, row.age

    def rejection(self, bid: Bid) -> Rejection:
        rows = self.of_model(bid.model)
        failures = [self.failures(row, bid) for row in rows]
        passing = {"capacity", *(block.value for block in Block)}
        waiting = sum(1 for failed in failures if failed and failed <= passing)
        return Rejection(len(rows), dict(Counter(name for failed in failures for name in failed)), waiting)

    def as_offer(self, row: Row, bid: Bid) -> Offer:
        return Offer(row.ask, self.atoms(row, bid), row.latency_us, row.tpot_ns, row.measured)


def tokens(bid: Bid) -> int:
    return bid.prompt_tokens + bid.max_tokens


def dominates(one: Terms, other: Terms) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1] and one[2] <= other[2]
